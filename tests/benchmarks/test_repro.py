"""The parts of the figures that run the whole demo, on a tiny demo."""

from contextlib import nullcontext

import pytest
import yaml
from e2e.project import tiny

from benchmarks import method, project, repro, scaling
from benchmarks.measure import Figure
from benchmarks.programs import bare_loop
from pipeline.sources import decoy_digits

pytestmark = pytest.mark.slow


@pytest.fixture
def few_digits(monkeypatch):
    """Few images to evaluate, and settings that take seconds: the smallest network, and one round of two queries."""
    monkeypatch.setattr(decoy_digits, "VAL", 60)
    monkeypatch.setattr(decoy_digits, "TEST", 60)
    monkeypatch.setattr(decoy_digits, "COUNT", 1797 + 60 + 60)
    params = tiny(project.settings())
    params["datasets"]["decoy-digits"]["size"] = 32
    params["backbones"]["efficientnet-lite0"]["architecture"] = method.SMALLEST
    (settings,) = params["scenarios"].values()
    settings |= {"fraction": 0.02, "query": {"strategy": "entropy", "cell": 4, "proposals": 6}}
    params["hitl"] |= {"last": "00", "rounds": [{"n": "00", "after": "start", "queries": 2, "epochs": 1}]}
    return params


def test_the_bare_loop_trains_and_reads_every_arm(few_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(few_digits))
    read = []
    monkeypatch.setattr(bare_loop.cells, "arm_result", lambda loop, arm, *_, **__: read.append(arm))
    bare_loop.main()
    assert read == ["baseline", "automated", "hitl", "random-mask"]


def test_the_overhead_is_the_whole_over_the_bare(monkeypatch):
    order = []

    def side(name, seconds):
        return lambda: order.append(name) or seconds

    monkeypatch.setattr(repro, "_whole_s", side("whole", 6.0))
    monkeypatch.setattr(repro, "_bare_s", side("bare", 4.0))
    assert repro.demo_overhead_ratio() == Figure(1.5, 1.5, 1.5)
    assert order == ["whole", "bare", "bare", "whole"]


def test_a_copy_has_no_services_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://ls.example.org")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = project.environment(tmp_path)
    assert not {"LABEL_STUDIO_URL", "MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"} & set(environment)
    assert environment["PYTHONPATH"] == str(tmp_path)


def test_a_program_that_fails_shows_its_output(tmp_path):
    with pytest.raises(RuntimeError, match="DVC repository"):
        project.run_program(tmp_path, "pretend_done")


def test_costs_over_images_are_measured_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scaling, "RUNS", 1)
    monkeypatch.setattr(scaling.repro, "finished", lambda count: nullcontext(count))
    monkeypatch.setattr(scaling.repro, "repro", lambda folder: None)
    found = {"images": scaling.images((4, 8)), "rounds": scaling.rounds((1, 2))}
    scaling.draw(found, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 0
    assert "scoring: " in capsys.readouterr().out


@pytest.mark.labelstudio
def test_costs_over_queries_are_measured():
    found = scaling.answers((2, 4))
    assert all(set(costs) == {2, 4} for costs in found.values())
