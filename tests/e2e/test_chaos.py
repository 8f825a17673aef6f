"""The program of `make chaos`, with a stand-in for DVC: it strikes in every stage, and finds what a kill damages."""

import sys

import pytest
from e2e import chaos
from e2e.disk import Disk, can_be_mounted

STAND_IN = """
import json, sys, time
from pathlib import Path
folder = Path("runs/x/00")
folder.mkdir(parents=True, exist_ok=True)
for stage in ("prepare", "annotate@x", "train@x", "compare"):
    done, begun = folder / f"{stage}.done", folder / f"{stage}.begun"
    if done.exists():
        continue
    print(f"Running stage '{stage}':", flush=True)
    torn = begun.exists()
    begun.touch()
    time.sleep(0.25)
    if stage == "annotate@x":
        answers = [{"key": "k", "expert": "e", "result": []}]
        (folder / "answers.json").write_text(json.dumps(answers * (2 if torn and FRAGILE else 1)))
    if torn:
        (folder / "torn").touch()
    (folder / "masks.npz").write_text("torn" if (folder / "torn").exists() and FRAGILE else "whole")
    (folder / "history.csv").write_text("x" * 5000)
    done.touch()
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    def use(*, fragile: bool) -> None:
        # The same moments on every machine, whatever it can mount or preload.
        monkeypatch.setattr(chaos, "FAKETIME", None)
        monkeypatch.setattr(chaos, "can_be_mounted", lambda: False)
        script = tmp_path / "stand_in.py"
        script.write_text(f"FRAGILE = {fragile}\n{STAND_IN}")
        monkeypatch.setattr(chaos, "REPRO", [sys.executable, str(script)])

    return use


def test_a_run_that_survives_has_no_difference(stand_in, tmp_path):
    stand_in(fragile=False)
    summary = chaos.main(10, seed=14, folder=tmp_path, known={})
    assert (summary["differences"], summary["answers_lost"], summary["answers_double"]) == ([], 0, 0)
    assert summary["kills"] == 10
    assert summary["checkouts"] >= 2
    assert {"prepare", "annotate@x", "train@x"} <= set(summary["stages_hit"])


def test_what_a_kill_damages_is_found(stand_in, tmp_path):
    stand_in(fragile=True)
    summary = chaos.main(10, seed=14, folder=tmp_path, known={})
    assert summary["differences"] == ["runs/x/00/masks.npz"]
    assert summary["answers_double"] >= 1


def test_a_disk_can_be_full_and_a_folder_read_only(tmp_path):
    if not can_be_mounted():
        pytest.skip("only root may mount a disk")
    with Disk(tmp_path / "disk") as disk:
        file = disk.folder / "runs" / "file"
        file.parent.mkdir()
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            file.write_bytes(b"x" * 10_000)
        disk.mend()
        file.write_bytes(b"x" * 10_000)
        disk.forbid("runs")
        with pytest.raises(OSError, match="Read-only"):
            file.write_bytes(b"y")
        disk.mend()
        file.write_bytes(b"y")
    assert not file.exists(), "the disk is gone"
