"""MLflow away, copied, emptied or short of room: a warning within seconds, and the next `compare` publishes all."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from fakes import warm_python
from fakes.checkout import ROOT

from pipeline.config import load
from pipeline.tracking import publishing, registered, runs, store

pytest.importorskip("mlflow")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (store.URI, "LOOKAWAY_HOME", "DVC_EXP_NAME", "MLFLOW_EXPERIMENT_NAME", *store.DEFAULTS):
        monkeypatch.delenv(name, raising=False)
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.provenance, "data", lambda dataset: "0" * 64)
    monkeypatch.setattr(runs.provenance, "commit", lambda: "0" * 40)
    yield tmp_path
    for name in (store.URI, *store.DEFAULTS):
        os.environ.pop(name, None)


def test_a_server_that_is_away_costs_seconds_and_one_warning(folder, monkeypatch, capsys):
    with socket.socket() as deaf:  # takes connections and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        monkeypatch.setattr(store, "PROBE_S", 1.0)
        database = "postgresql://user:s3cret@127.0.0.1:9/mlflow"  # MLflow alone would try for minutes
        for uri in (database, f"http://user:s3cret@127.0.0.1:{deaf.getsockname()[1]}", "http://127.0.0.1:9"):
            monkeypatch.setenv(store.URI, uri)
            begin = time.monotonic()
            publishing.publish_all(load(), note=[])
            publishing.publish_arm(load(), load().hitl.scenarios[0], "baseline")
            assert time.monotonic() - begin < 10
            said = capsys.readouterr().err
            assert said.count("warning: not published to MLflow (no MLflow answers") == 2
            assert "`dvc repro --force --single-item compare`" in said
            assert "s3cret" not in said


def test_an_error_does_not_show_a_password(monkeypatch):
    monkeypatch.setenv(store.URI, "postgresql://user:s3cret@127.0.0.1:9/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    said = store.reason(ValueError(f"cannot connect to {os.environ[store.URI]}\nwith t0ken"))
    assert said == "cannot connect to postgresql://user:***@127.0.0.1:9/mlflow with ***"


MANY = """
import pandas as pd, sys
from pipeline.config import load
from pipeline.tracking import runs, store
runs.provenance.data = lambda dataset: "0" * 64
runs.provenance.commit = lambda: "0" * 40
config = load(); scenario = config.hitl.scenarios[0]
history = pd.DataFrame({"step": "start", "epoch": range(1, 701), "val_loss": 0.5})
plain = runs.params
runs.params = lambda *given: plain(*given) | {"weird (name)": "x" * 9000, "n" * 300: 1, "n" * 301: 2}
client = store.client(); experiment = store.experiment(client)
def update(rows):
    return runs.update(client, experiment=experiment, config=config, scenario=scenario, arm="automated", history=rows)
first = update(history[:600])
assert update(history[:600]) == update(history) == update(history) == first, "no length is too long"
run = client.get_run(first)
assert len(client.get_metric_history(first, "val_loss")) == 700
assert sum(name.startswith("nnn") for name in run.data.params) == 2
changed = history.assign(val_loss=0.4)
assert update(changed) != first, "another history is another run"

old = update(history)  # as an earlier version wrote it: a list, cut off or not
rows = [runs._digest(row.to_json()) for _, row in history.iterrows()]
import json
client.set_tag(old, runs.HISTORY, json.dumps(rows[:300]))
assert update(history) == old
client.set_tag(old, runs.HISTORY, json.dumps(rows)[:8000])
assert update(history) != old

client.delete_experiment(experiment)
assert store.experiment(client) == experiment, "deleted in its page, and restored"
update(history)
print("fine", client.get_experiment(experiment).artifact_location)
"""


@pytest.mark.slow
def test_any_history_and_a_copied_checkout(folder):
    def run(place, code):
        done = warm_python.run("-c", code, cwd=place, code=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    variables = os.environ | {"PYTHONPATH": str(ROOT)}  # MLflow reads them when it is imported
    new = subprocess.run([sys.executable, "-c", MANY], cwd=folder, env=variables, capture_output=True, text=True)
    assert f"fine {folder}/mlruns/" in new.stdout, new.stderr
    assert new.stderr == "", "the tables are made without a word"
    copy = folder.parent / f"{folder.name}-copy"
    shutil.copytree(folder, copy)
    said = run(copy, "from pipeline.tracking import store; c = store.client(); print(c.get_experiment('1'))")
    assert f"comes from another folder, {folder}/mlruns" in said
    with closing(sqlite3.connect(copy / "mlflow.db")) as database:
        dump = "\n".join(database.iterdump())
    assert f"{copy}/mlruns/" in dump
    assert f"{folder}/mlruns" not in dump
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert f"{copy}" not in "\n".join(database.iterdump())


DELETED = """
import mlflow
from pipeline.tracking import registered, store
client = store.client()
run = client.create_run(store.experiment(client)).info.run_id
def log():
    with mlflow.start_run(run_id=run):
        found = mlflow.pyfunc.log_model(
            name="hitl-x", python_model=lambda model_input: model_input, registered_model_name="m", pip_requirements=[]
        )
    client.set_registered_model_alias("m", "hitl", found.registered_model_version)
    return found.registered_model_version
there = lambda: registered._is_there(client, run, name="m", arm="hitl")
assert not there()
version = log()
assert there()
client.delete_registered_model_alias("m", "hitl")
assert not there()
client.set_registered_model_alias("m", "hitl", version)
client.delete_logged_model(registered._model_id(client.get_model_version("m", version)))
assert not there(), "its files"
version = log()
assert there()
client.delete_model_version("m", version)
assert not there()
client.delete_registered_model("m")
assert not there()
print("fine")
"""


@pytest.mark.slow
def test_a_registered_model_that_somebody_deleted_is_missed(folder):
    done = warm_python.run("-c", DELETED, cwd=folder, code=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_name_of_a_registered_model_has_no_character_that_mlflow_refuses():
    assert registered.name("/Users/me: x", "digits") == "-Users-me- x-digits"


def test_in_dvcs_copy_the_database_is_that_of_the_checkout(folder, monkeypatch):
    copy = folder / ".dvc/tmp/exps/standalone/tmpabc"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert store._uri() == f"sqlite:///{folder.resolve()}/mlflow.db"
    monkeypatch.setenv(store.URI, "sqlite:////elsewhere/x.db")
    assert store._uri() == "sqlite:////elsewhere/x.db"
