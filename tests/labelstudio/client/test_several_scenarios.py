"""Stages of `annotate` as `dvc repro --keep-going` runs them: at once, interrupted, moved, and upgraded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml
from e2e.project import ROOT, environment_for
from fakes import warm_python
from fakes.label_studio import FakeLabelStudio
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio

EXPERT = "expert@localhost.local"


STAGE = """
import sys
from types import SimpleNamespace
from pipeline.commands.stage import app
from pipeline.data import prepared

prepared.read = lambda folder: SimpleNamespace(digest="digits")
app(["annotate", *sys.argv[1:]])
"""


@pytest.fixture
def two_scenarios(fake, tmp_path):
    """A DVC project of two annotate stages, and its environment at the fake server."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (scenario,) = params["scenarios"].values()
    params["scenarios"] = {"one": scenario, "two": scenario}
    params["hitl"]["scenarios"] = ["one", "two"]
    params["annotate"]["expert"] = "human"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    stages = {}
    for name in ("one", "two"):
        folder = tmp_path / "runs" / name / "00"
        folder.mkdir(parents=True)
        queries = manifest(folder, 2)
        type(queries)(name, "00", queries.queries).write(folder / "queries.json")
        stages[f"annotate-{name}"] = {
            "cmd": f"python stage.py --scenario {name} --round 00",
            "deps": ["stage.py"],
            "outs": [f"runs/{name}/00/answers.json"],
        }
        stages[f"train-{name}"] = {
            "cmd": f"cp runs/{name}/00/answers.json {name}.json",
            "deps": [f"runs/{name}/00/answers.json"],
            "outs": [f"{name}.json"],
        }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "stage.py").write_text(STAGE)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    environment = {**environment_for(fake), "PYTHONPATH": str(ROOT), "ANNOTATE_WAIT_S": "0", "NO_COLOR": "1"}
    return tmp_path, environment


def repro(folder, environment) -> tuple[int, str]:
    done = subprocess.run(
        [warm_python.folder() / "dvc", "repro", "--keep-going"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.slow
def test_several_scenarios_can_be_open_at_once(fake, two_scenarios):
    folder, environment = two_scenarios
    code, output = repro(folder, environment)
    assert code != 0
    assert output.count("error: 0/2 answered") == 2, output
    assert output.count("run `dvc repro` again") == 2
    assert "Traceback" not in output
    assert len(fake.tasks) == 4, "both scenarios' questions are there"

    answer(fake, "two, seed 0", 2)
    code, output = repro(folder, environment)
    assert code != 0
    assert (folder / "two.json").exists(), "what is answered goes on"
    assert not (folder / "one.json").exists()
    assert len(json.loads((folder / "two.json").read_text())) == 2
    assert len(fake.tasks) == 4


def answer(server, title: str, count: int) -> None:
    """The expert answers so many tasks of a project that nobody has answered."""
    expert = LabelStudio(server.url, server.expert_api_key)
    project = expert.ensure_project(title)
    tasks = expert.tasks(project, [row["data"]["key"] for row in server.tasks.values()])
    for task in [task for task in tasks if not task.annotations][:count]:
        expert.annotate(task, expert=EXPERT, result=[], lead_time=1.0)


@pytest.mark.slow
def test_a_checkout_that_is_moved_or_upgraded_asks_nobody_again(fake, two_scenarios):
    folder, environment = two_scenarios
    repro(folder, environment)
    for name in ("one", "two"):
        answer(fake, f"{name}, seed 0", 1)
    assert repro(folder, environment)[1].count("error: 1/2 answered") == 2

    moved = folder.with_name(f"{folder.name}-moved")
    folder.rename(moved)
    (moved / "stage.py").write_text(f"{STAGE}# of a newer version\n")
    assert repro(moved, environment)[1].count("error: 1/2 answered") == 2
    assert len(fake.tasks) == 4

    with FakeLabelStudio() as elsewhere:
        environment |= environment_for(elsewhere) | {"PYTHONPATH": str(ROOT)}
        output = repro(moved, environment)[1]
        assert output.count("1 of 2 queries were answered before") == 2, output
        assert output.count("error: 1/2 answered") == 2, output
        assert len(elsewhere.tasks) == 2, "the other machine's server asks what nobody has answered, in mid-round"
        for name in ("one", "two"):
            answer(elsewhere, f"{name}, seed 0", 1)
        assert repro(moved, environment)[0] == 0
    answers = [json.loads((moved / f"{name}.json").read_text()) for name in ("one", "two")]
    assert [len({answer["key"] for answer in some}) for some in answers] == [len(some) for some in answers] == [2, 2]

    (moved / "stage.py").write_text(f"{STAGE}# of a still newer version, after the round\n")
    with FakeLabelStudio() as elsewhere:
        code, output = repro(moved, environment | environment_for(elsewhere) | {"PYTHONPATH": str(ROOT)})
        assert code == 0, output
        assert output.count("2 of 2 queries were answered before") == 2
        assert elsewhere.tasks == {}, "its server asks nobody"
    assert [json.loads((moved / f"{name}.json").read_text()) for name in ("one", "two")] == answers


def stage(folder, environment) -> str:
    """One scenario's stage, without DVC around it; what it says."""
    done = subprocess.run(
        [warm_python.folder() / "python", "stage.py", "--scenario", "one", "--round", "00"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stdout


def test_a_bad_value_ends_before_anything_is_asked(fake, two_scenarios):
    folder, environment = two_scenarios
    (folder / ".env").write_text("ANNOTATE_QUORUM=most\n")
    said = stage(folder, environment)
    assert said.startswith("error: `ANNOTATE_QUORUM` must be a number of queries, 1 or more, not 'most'")
    assert fake.requests == []


@pytest.mark.slow
def test_no_token_is_in_any_output(fake, two_scenarios, listener):
    folder, environment = two_scenarios
    token = fake.personal_access_token
    environment["ANNOTATE_WEBHOOK"] = listener.url
    outputs = [repro(folder, environment)[1]]
    for key in (token, token[:-4] + "AAAA", "wrong-legacy-key-0123456789"):
        outputs.append(stage(folder, {**environment, "LABEL_STUDIO_API_KEY": key}))
    assert "does not accept the API key" in outputs[-1]
    assert listener.heard
    secrets = [fake.api_key, fake.expert_api_key, token, "wrong-legacy-key-0123456789", "s3cret"]
    written = [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    for secret in secrets:
        assert secret not in "".join(outputs) + json.dumps(listener.heard)
        assert not any(secret.encode() in content for content in written), secret


def test_interrupted_it_says_what_to_do_next(fake, two_scenarios):
    folder, environment = two_scenarios
    process = subprocess.Popen(
        [sys.executable, "stage.py", "--scenario", "one", "--round", "00"],
        cwd=folder, env={**environment, "ANNOTATE_WAIT_S": ""}, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as at a terminal; pytest-xdist ignores it
    )  # fmt: skip
    try:
        assert "0/2 answered" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "no answer is lost. Run `dvc repro` to continue." in said
    assert "Traceback" not in said
    assert os.listdir(folder / "runs/one/00").count("answers.json") == 0
