"""An arm's epochs while it trains: in the file that DVC plots, and in MLflow."""

import pandas as pd
import pytest
from fakes.mlflow_runs import MlflowRuns

from pipeline.config import load
from pipeline.paths import curve_file, step_dir
from pipeline.tracking import live, publishing, runs, store

START = pd.DataFrame({"step": ["start"], "epoch": [1], "val_loss": [0.1 + 0.2]})
ROWS = pd.DataFrame({"step": ["00", "00"], "epoch": [2, 3], "val_loss": [1 / 3, 0.25]})


@pytest.fixture
def client(monkeypatch):
    pytest.importorskip("mlflow")
    client = MlflowRuns()
    monkeypatch.setattr(runs.provenance, "data", lambda dataset: "0" * 64)
    monkeypatch.setattr(store, "client", lambda: client)
    monkeypatch.setattr(store, "experiment", lambda client: "1")
    return client


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The settings, in a checkout whose baseline has trained."""
    config = load()
    monkeypatch.chdir(tmp_path)
    folder = step_dir(config.hitl.scenarios[0], "start")
    folder.mkdir(parents=True)
    START.to_csv(folder / "history.csv", index=False)
    return config


def finish(config, arm: str) -> None:
    """Write an arm's whole history, and publish the arm."""
    folder = step_dir(config.hitl.scenarios[0], arm)
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat([START, ROWS]).to_csv(folder / "history.csv", index=False)
    publishing.publish_arm(config, config.hitl.scenarios[0], arm)


def test_each_epoch_is_there_before_the_next_one(config, client):
    (scenario,) = config.hitl.scenarios
    show = live.epochs(config, scenario, "automated", after="start")
    for count in (1, 2):
        show(ROWS[:count])
        assert pd.read_csv(curve_file(scenario, "automated"))["epoch"].tolist() == [1, 2, 3][: count + 1]
        (run,) = client.runs
        assert [step for _, step, _ in run.points] == [1, 2, 3][: count + 1]


def test_the_end_of_the_arm_finds_its_run(config, client):
    (scenario,) = config.hitl.scenarios
    live.epochs(config, scenario, "automated", after="start")(ROWS[:1])
    live.epochs(config, scenario, "automated", after="start")(ROWS)  # after a kill, another process
    finish(config, "automated")
    assert not client.deleted, "digits are the same in memory and in the file"
    assert len(client.runs) == 1


def test_an_arm_that_trains_once_more_keeps_its_run(config, client):
    (scenario,) = config.hitl.scenarios
    finish(config, "automated")
    live.epochs(config, scenario, "automated", after="start")(ROWS[:1])
    finish(config, "automated")
    assert not client.deleted


def test_mlflow_that_does_not_answer_is_asked_once_in_a_stage(config, monkeypatch, capsys):
    asked = []

    def away():
        asked.append(1)
        raise ConnectionError

    monkeypatch.setattr(store, "client", away)
    (scenario,) = config.hitl.scenarios
    show = live.epochs(config, scenario, "automated", after="start")
    show(ROWS[:1])
    show(ROWS)
    assert len(asked) == 1
    assert len(pd.read_csv(curve_file(scenario, "automated"))) == 3
    assert capsys.readouterr().err == "", "the end of the stage says it"
