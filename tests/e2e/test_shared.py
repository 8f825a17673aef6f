"""One checkout computes, another has it all: MLflow on PostgreSQL and S3, DVC's remote on S3, one Label Studio.

The images' files name patients, and nothing that is shared does.
"""

import json
import re
import subprocess
import sys
from collections import Counter

import boto3
import pytest
import requests
import yaml
from dotenv import dotenv_values
from e2e.project import AUTHOR, ROOT, SAID, SCENARIO, environment, ran, repro, tiny_project
from fakes import patients
from fakes.label_studio import FakeLabelStudio
from fakes.postgres import USER, postgres
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from labelstudio.server import process

pytestmark = pytest.mark.slow
SECRETS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
ELSEWHERE = "clinic-b"  # the external test set
ORIGINALS = "data/originals/"  # which picture is whose stays on the machine that prepared it


@pytest.fixture(scope="module")
def label_studio():
    with FakeLabelStudio() as fake:
        yield fake


@pytest.fixture(scope="module")
def s3():
    """The address of an object storage with the buckets that are needed."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret", "region_name": "us-east-1"}
        for bucket in ("lookaway", "mlflow"):
            boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket=bucket)
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def mlflow(s3, tmp_path_factory):
    """The address of an MLflow server that is started as in deploy/compose.yaml."""
    folder, port = tmp_path_factory.mktemp("mlflow"), process.free_port(None, preferred=15000)
    command = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["mlflow"]["command"]
    here = {"0.0.0.0": "127.0.0.1", "5000": str(port), "s3://${S3_MLFLOW_BUCKET:?}": "s3://mlflow"}
    with postgres() as database:
        settings = {
            **environment(),
            **SECRETS,
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg://{USER}:{database.password}@127.0.0.1:{database.port}/postgres",
            "MLFLOW_S3_ENDPOINT_URL": s3,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with (folder / "log").open("w") as log:
            arguments = [sys.executable, "-m", *[here.get(word, word) for word in command], "--workers", "1"]
            server = subprocess.Popen(arguments, cwd=folder, env=settings, stdout=log, stderr=log)
            try:
                url = process.url(port)
                process.wait_while(lambda: server.poll() is None and not serves(url), process.PATIENCE_S, every_s=0.5)
                assert serves(url), (folder / "log").read_text()[-2000:]
                yield url
            finally:
                server.terminate()
                server.wait()


def serves(url):
    try:
        return requests.get(f"{url}/health", timeout=10).ok
    except requests.RequestException:
        return False


def call(folder, *command, env=None):
    done = subprocess.run(command, cwd=folder, env=env or environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def share(label_studio, s3, mlflow):
    """Makes a folder's checkout one that shares, with a .env as in deploy/shared.env."""
    values = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.api_key,
        "LABEL_STUDIO_EXPERT_API_KEY": label_studio.expert_api_key,
        "MLFLOW_TRACKING_URI": mlflow,
        "DVC_REMOTE": "s3://lookaway/dvc",
        "AWS_ENDPOINT_URL": s3,
        **SECRETS,
    }
    passwords = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}  # Caddy asks for them, and it is not here
    assert set(dotenv_values(ROOT / "deploy" / "shared.env")) == set(values) | passwords

    def share(folder):
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        call(folder, "make", "-o", ".venv/installed-s3", "shared")

    return share


@pytest.fixture(scope="module")
def first(share, tmp_path_factory):
    """A checkout with one round on images whose files name patients, tested elsewhere, finished and pushed."""
    folder = tmp_path_factory.mktemp("first")
    tiny_project(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["datasets"] = {}
    for name, number in (("clinic", 0), (ELSEWHERE, 1000)):
        clinic = tmp_path_factory.mktemp(name)
        patients.write_images(clinic, number)
        params["datasets"][name] = patients.settings(clinic)
    params["scenarios"][SCENARIO] |= {"dataset": "clinic", "fraction": 1.0, "external": [ELSEWHERE]}
    params["hitl"] |= {"placebos": [], "last": "00", "rounds": params["hitl"]["rounds"][:1]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    share(folder)
    assert len(ran(repro(folder, environment()))) == 13
    call(folder, "git", "add", ".")
    call(folder, "git", *AUTHOR, "commit", "-qm", "one round")
    call(folder, "dvc", "push", "--run-cache")
    return folder


def test_secrets_are_not_in_git(first):
    secrets = [value for name, value in dotenv_values(first / ".env").items() if name.endswith(("_KEY", "_ID"))]
    assert len(secrets) == 4
    for name in call(first, "git", "ls-files").split():
        assert not any(secret.encode() in (first / name).read_bytes() for secret in secrets), name


def test_no_patient_is_named_anywhere_but_beside_the_originals(first, s3, label_studio):
    """Not in a file of the checkout or its name, nor in what DVC, MLflow and Label Studio share, nor on the screen."""
    places = {str(path.relative_to(first)): path for path in first.rglob("*") if path.is_file()}
    found = {
        place: patients.named(place.encode()) + patients.named(path.read_bytes()) for place, path in places.items()
    }
    assert any(names for place, names in found.items() if place.startswith(ORIGINALS)), "or the search finds nothing"
    client = boto3.client("s3", endpoint_url=s3, aws_access_key_id="a-key", aws_secret_access_key="a-secret")
    for bucket in ("lookaway", "mlflow"):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for key in (about["Key"] for about in page["Contents"]):
                content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
                found[f"s3://{bucket}/{key}"] = patients.named(key.encode()) + patients.named(content)
    found["Label Studio"] = patients.named(repr([label_studio.tasks, label_studio.projects]).encode())
    found["the screen"] = patients.named("".join(SAID).encode())
    assert len(found) > 200
    assert not {place: names for place, names in found.items() if names and not place.startswith(ORIGINALS)}


def test_another_checkout_pulls_and_runs_nothing(first, share, label_studio, tmp_path):
    call(tmp_path, "git", "clone", "-q", str(first), "second")
    second = tmp_path / "second"
    share(second)
    asked = len(label_studio.requests)
    call(second, "dvc", "pull", "--run-cache", "--allow-missing")
    output = repro(second, environment(), "--allow-missing")
    assert ran(output) == []
    assert "up to date" in output
    assert len(label_studio.requests) == asked
    for name in ("report/index.html", f"runs/{SCENARIO}/00/state.pt", f"runs/{SCENARIO}/00/answers.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert not (second / "data" / "originals").exists(), "which picture is whose stays on the machine that prepared it"


def mlflow_runs(url, arm):
    """The `query.cell` of every run of an arm on the server, whose curves and artefacts it has; sorted."""
    client = MlflowClient(url)
    found = client.search_runs([client.get_experiment_by_name("lookaway").experiment_id], f"tags.arm = '{arm}'")
    assert all(client.get_metric_history(run.info.run_id, "val_loss") for run in found)
    assert all(client.list_artifacts(run.info.run_id) for run in found)
    return sorted(run.data.params["query.cell"] for run in found)


def test_another_clinics_scores_are_published_beside_the_card(first, mlflow):
    metrics = json.loads((first / "report" / "metrics.json").read_text())[SCENARIO]
    client = MlflowClient(mlflow)
    (experiment,) = client.search_experiments(filter_string="name = 'lookaway'")
    for arm, scores in metrics.items():
        (run,) = client.search_runs([experiment.experiment_id], f"tags.arm = '{arm}'")
        for name in (f"external-{ELSEWHERE}_accuracy", f"external-{ELSEWHERE}_loss", f"external-{ELSEWHERE}_auc"):
            assert run.data.metrics[f"final/{name}"] == scores[name]
        version = client.get_model_version_by_alias(f"lookaway-{SCENARIO}", arm)
        files = {file.path for file in client.list_logged_model_artifacts(version.source.rpartition("/")[2])}
        assert {f"{SCENARIO}.md", "croissant.json"} <= files
    assert f"| external-{ELSEWHERE} | {patients.IMAGES} |" in (first / f"report/cards/{SCENARIO}.md").read_text()
    assert f"The external test set {ELSEWHERE}" in (first / "report" / "index.html").read_text()


def test_experiments_at_the_same_time_do_not_meet(first, label_studio, mlflow):
    """Each has a project and a run of its own, and every question of both is answered once."""
    assert mlflow_runs(mlflow, "hitl") == ["6"]
    projects, before = set(label_studio.projects), set(label_studio.tasks)
    queued = environment() | dotenv_values(first / ".env")  # as `set -a; . ./.env` does: they run in other folders
    for cell in ("4", "8"):
        changed = ["--set-param", f"scenarios.{SCENARIO}.query.cell={cell}"]
        stage = f"review@{SCENARIO}-round0"
        call(first, "dvc", "exp", "run", "--queue", "--name", f"cell-{cell}", *changed, stage)
    call(first, "dvc", "queue", "start", "--jobs", "2", env=queued)
    process.wait_while(lambda: re.search("Queued|Running", call(first, "dvc", "queue", "status")), 300, every_s=3)
    assert call(first, "dvc", "queue", "status").count("Success") == 2, call(first, "dvc", "queue", "logs", "cell-4")

    own = {number: about["title"] for number, about in label_studio.projects.items() if number not in projects}
    assert len(set(own.values())) == len(own)
    tasks = {number: task for number, task in label_studio.tasks.items() if number not in before}
    assert {task["project"] for task in tasks.values()} <= set(own)
    # Beside the questions, what the marks of the round in `first` did may be shown, which nobody answers.
    questions = {number: task for number, task in tasks.items() if ", effect" not in own[task["project"]]}
    asked = Counter((task["project"], task["data"]["key"]) for task in questions.values())
    answered = Counter(annotation["task"] for annotation in label_studio.annotations.values())
    assert sorted(Counter(project for project, _ in asked).values()) == [4, 4]
    assert set(asked.values()) == {1}
    assert all(answered[number] == 1 for number in questions)
    assert mlflow_runs(mlflow, "hitl") == ["4", "6", "8"]
