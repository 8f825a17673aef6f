"""The bench of sixty networks: its committed results, and how it stores them."""

import json

import pytest
from fakes.checkout import ROOT

from benchmarks import networks
from benchmarks.networks import Row
from pipeline.errors import PipelineError

COMMITTED = ROOT / networks.FILE


def test_the_page_has_the_committed_results():
    results = networks.load(COMMITTED)
    stored = json.loads(COMMITTED.read_text())
    page = (ROOT / "docs" / "networks.md").read_text()
    assert networks.table(results) in page
    assert [row.name for row in results] == list(networks.NAMES)
    shares = [sum(row.penalised for row in results) / 60, sum(row.complete for row in results) / 60]
    assert [stored["networks_penalised"], stored["networks_complete"]] == shares
    assert f"both shares are {shares[0]:.2f}" in page
    for known in (stored["processor"], f"torch {stored['versions']['torch']}", f"timm {stored['versions']['timm']}"):
        assert known in page


def test_each_row_is_stored_as_it_comes_and_not_measured_again(tmp_path, monkeypatch, capsys):
    path, asked = tmp_path / "networks.json", []

    def measured(name):
        asked.append(name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return Row(name, 64, 0.9991, 0.02) if len(asked) == 1 else Row(name, 64, refused="no")

    monkeypatch.setattr(networks, "measured", measured)
    monkeypatch.setattr(networks, "NAMES", ("a", "b", "c"))
    with pytest.raises(KeyboardInterrupt):
        networks.main([], path)
    assert networks.load(path) == [Row("a", 64, 0.9991, 0.02), Row("b", 64, refused="no")]
    networks.main([], path)
    assert asked == ["a", "b", "c", "c"]
    networks.main(["a"], path)
    assert asked[4:] == ["a"]
    stored = json.loads(path.read_text())
    assert (stored["measured"], stored["networks_penalised"], stored["networks_complete"]) == (3, 0.0, 0.0)
    assert [row["name"] for row in stored["networks"]] == ["a", "b", "c"]
    assert set(stored["versions"]) == {"python", "torch", "timm"}
    assert "| `c` | 64 |  |  | no |" in capsys.readouterr().out
    with pytest.raises(PipelineError, match="the list has no network d"):
        networks.main(["d"], path)


def test_a_network_that_takes_no_small_images_is_measured_at_its_own_side(monkeypatch):
    monkeypatch.setattr(networks, "_measured", lambda name, side: Row(name, side, refused="" if side == 32 else "no"))
    monkeypatch.setattr(networks, "SIDE", 32)
    assert networks.measured("test_vit") == Row("test_vit", 32)
    monkeypatch.setattr(networks, "SIDE", 64)
    assert networks.measured("test_vit") == Row("test_vit", 160, refused="no")


def test_rows_below_the_limits_do_not_count():
    assert (Row("x", 64, 0.9989, 0.011).penalised, Row("x", 64, 0.9989, 0.011).complete) == (False, False)
    assert (Row("x", 64, 0.9991, 0.009).penalised, Row("x", 64, 0.9991, 0.009).complete) == (True, True)
