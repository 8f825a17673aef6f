"""Spread marks, counterexamples and a new last layer through the real Label Studio, killed twice on the way."""

import json
import os
import signal
import subprocess
import time
from collections import Counter

import pytest
import requests
import yaml
from e2e.project import SCENARIO, environment_for, repro, tiny_project

from labelstudio.client.backend import LabelStudio
from pipeline.arms import results
from pipeline.config import load
from pipeline.data import prepared
from pipeline.experiments.loop import Loop
from pipeline.feedback import masks
from pipeline.paths import prepared_dir
from pipeline.training import states

pytestmark = [pytest.mark.labelstudio, pytest.mark.slow]
QUERIES = 12


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with one round, whose answers reach images that are no query."""
    folder = tmp_path_factory.mktemp("spreading")
    tiny_project(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    scenario = params["scenarios"][SCENARIO]
    scenario["feedback"] = {"form": "counterexamples", "refit": {"draws": 2}, "spread": {"precision": 0.6}}
    scenario["query"]["random_share"] = 0.5
    params["hitl"] |= {"last": "00", "rounds": [{"n": "00", "after": "start", "queries": QUERIES, "epochs": 2}]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def started(project, environment):
    """`dvc repro` in a process group of its own."""
    return subprocess.Popen(
        ["dvc", "--wait-for-lock", "repro"],
        cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def projects(label_studio):
    """The projects on the server with tasks, by title."""
    headers = {"Authorization": f"Token {label_studio.api_key}"}
    found = requests.get(f"{label_studio.url}/api/projects/?page_size=200", headers=headers, timeout=60).json()
    return {about["title"]: about["id"] for about in found["results"] if about["task_number"]}


def test_killed_while_asking_and_while_training_it_ends_as_an_undisturbed_loop(
    project, real_label_studio, tmp_path, monkeypatch
):
    environment, round_dir = environment_for(real_label_studio), project / "runs" / SCENARIO / "00"
    before = projects(real_label_studio)
    process = started(project, environment)
    assert any("Running stage 'annotate" in line for line in process.stdout)
    while not projects(real_label_studio).keys() - before.keys() and process.poll() is None:
        time.sleep(0.05)
    kill(process)  # while the expert answers; wherever a fast machine was, the end must be the same
    process = started(project, environment)
    assert any("in force" in line for line in process.stdout)
    kill(process)
    trained = [f"automated@{SCENARIO}", f"placebo@{SCENARIO}-random-mask", f"review@{SCENARIO}-round0"]
    output = repro(project, environment, *trained)

    answers = json.loads((round_dir / "answers.json").read_text())
    assert Counter(answer["key"] for answer in answers) == Counter({answer["key"] for answer in answers})
    assert len(answers) == QUERIES
    (title,) = (name for name in projects(real_label_studio).keys() - before.keys() if ", effect" not in name)
    client = LabelStudio(environment["LABEL_STUDIO_URL"], environment["LABEL_STUDIO_API_KEY"])
    tasks = client.tasks(client.ensure_project(title), {answer["key"] for answer in answers})
    assert Counter(len(task.annotations) for task in tasks) == {1: QUERIES}, "each was answered once"

    entries = masks.read(round_dir / "masks.npz")
    assert Counter(entry.kind for entry in entries)["spread"] > QUERIES
    skill = json.loads((round_dir / "spread" / "skill.json").read_text())
    assert skill["answers"] == QUERIES
    assert (round_dir / "spread" / "examples.png").stat().st_size > 10_000
    assert "last layer fitted" in output

    monkeypatch.chdir(project)
    config = load()
    loop = Loop(config, SCENARIO, data=prepared.read(prepared_dir("decoy-digits")), folder=tmp_path)
    outcomes = {"baseline": loop.baseline(), "hitl": loop.arm("hitl")}
    outcomes |= {arm: loop.arm(arm, outcomes["hitl"]) for arm in ("automated", "random-mask")}
    for arm, outcome in outcomes.items():
        states.save(outcome.state, tmp_path / "state.pt")
        expected = results.final_dir(config, SCENARIO, arm) / "state.pt"
        assert (tmp_path / "state.pt").read_bytes() == expected.read_bytes(), arm
