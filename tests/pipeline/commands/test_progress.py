"""The line before each stage of the demo: which stage it is, and how long the rest takes."""

import shutil
import subprocess

import pytest
import yaml
from fakes.checkout import ROOT

from pipeline.commands import progress
from pipeline.config import load
from pipeline.paths import backbone_file, prepared_dir, step_dir


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """A checkout with the demo's params, and a clock that the test sets."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(progress.BEGUN, "")
    now = {"s": 1000.0}
    monkeypatch.setattr(progress.time, "time", lambda: now["s"])
    return now


def finish(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_rest_is_known_from_the_pace_so_far(clock, capsys):
    config = load()
    (scenario,) = config.hitl.scenarios
    progress.begin(config)
    progress.say()
    assert capsys.readouterr().out == "stage 1 of 24\n", "nothing is done, so that the pace is unknown"
    for path in (prepared_dir("decoy-digits"), backbone_file("efficientnet-lite0")):
        finish(path)
    progress.say()
    assert capsys.readouterr().out == "stage 3 of 24\n", "no epoch has been trained yet"
    finish(step_dir(scenario, "start") / "state.pt")
    clock["s"] += 80  # for 2 + 6 of the 24 + 5 + 3 x 10 units of work
    progress.say()
    assert capsys.readouterr().out == "stage 4 of 24, about 8 minutes left\n"
    progress.begin(config)  # another run: what was done before says nothing about its pace
    progress.say()
    assert capsys.readouterr().out == "stage 4 of 24\n"


def test_with_people_nobody_knows_how_long_the_rest_takes(clock, tmp_path, capsys):
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["annotate"]["expert"] = "human"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    progress.begin(load())
    finish(prepared_dir("decoy-digits"))
    clock["s"] += 60
    progress.say()
    assert capsys.readouterr().out == "stage 2 of 24\n"


def test_a_bare_dvc_repro_says_nothing(clock, monkeypatch, capsys):
    monkeypatch.delenv(progress.BEGUN)
    progress.say()
    assert capsys.readouterr().out == ""


def test_every_stage_of_dvc_yaml_counts(clock):
    for name in ("dvc.yaml", "constraints.txt"):
        shutil.copy(ROOT / name, ".")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    listed = subprocess.run(["dvc", "stage", "list", "--name-only"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.split()) == len(list(progress._work(load())))
