"""The sweep: its settings in DVC's syntax, its stored results, its table, and DVC's queue."""

import json
import shutil
from types import SimpleNamespace

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.config import load
from pipeline.evaluation.figures import save
from pipeline.experiments import sweep


@pytest.mark.parametrize("setting", sweep.SWEEPS)
def test_dvc_understands_every_value_of_a_sweep(setting, tmp_path):
    path = tmp_path / "params.yaml"
    scenario = load().hitl.scenarios[0]
    found = []
    for settings in sweep.SWEEPS[setting].values():
        shutil.copy("params.yaml", path)
        apply_overrides(path, sweep.changes(scenario, settings | sweep.ALL | {"seed": 3}))
        config = load(path)
        assert (config.seed, config.hitl.placebos) == (3, [])
        assert sum(entry.queries for entry in config.hitl.rounds) == sweep.QUERIES
        assert sum(entry.epochs for entry in config.hitl.rounds) == sweep.EPOCHS
        found.append((config.scenario(scenario).model_dump_json(), config.hitl.model_dump_json()))
    assert len(set(found)) == len(found), "each value is another experiment"
    as_it_is = load().hitl.model_copy(update={"placebos": []})
    assert found.count((load().scenario(scenario).model_dump_json(), as_it_is.model_dump_json())) == 1
    names = {sweep._name(setting, value, seed) for value in sweep.SWEEPS[setting] for seed in (0, 1)}
    assert len(names) == 2 * len(found)


def test_the_sweeps_table_and_picture_show_every_value(tmp_path):
    arm = {"test_accuracy": 1.0, "test-shifted_accuracy": 0.6}
    metrics = {"automated": arm, "hitl": arm | {"test-shifted_accuracy": 0.8}}
    found = {
        sweep._name(setting, value, seed): metrics
        for setting, values in sweep.SWEEPS.items()
        for value in values
        for seed in (0, 1)
    }
    found |= {sweep._name("lambda", "1e-4", seed): {"automated": arm, "hitl": arm} for seed in (0, 1)}
    text = sweep.table("s", 2, found)
    assert "| lambda | 1e-4 | 0 [0, 0] | -50 [-50, -50] |" in text
    assert text.count("| 50 [50, 50] |  |") == len(sweep.SWEEPS), "what is as it is, is compared with nothing"
    others = sum(map(len, sweep.SWEEPS.values())) - len(sweep.SWEEPS) - 1
    assert text.count("| 50 [50, 50] | 0 [0, 0]: no difference shown |") == others
    save(sweep.picture(2, found), tmp_path / "sweeps.png")
    assert (tmp_path / "sweeps.png").stat().st_size > 10_000


def test_a_sweep_knows_what_ran_with_the_settings_it_has_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "sweep.json")
    ref = "refs/exps/12/3/sweep-one-seed0\nrefs/exps/12/3/of-somebody-else"
    metrics = {"s": {"hitl": {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8, "val_loss": 0.1}}}
    answers = {"for-each-ref": ref, "show": json.dumps(metrics)}
    monkeypatch.setattr(sweep, "_git", lambda command, *_: answers[command])
    sweep.keep({"sweep-one-seed0": "digest"}, "123")
    answers["for-each-ref"] = ""  # another clone
    sweep.keep({"sweep-one-seed0": "digest"}, "123")
    assert sweep.found({"sweep-one-seed0": "digest"}) == {
        "sweep-one-seed0": {"hitl": {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8}}
    }
    assert sweep.found({"sweep-one-seed0": "other"}) == {}


def test_a_sweep_replaces_a_worker_that_has_given_up(monkeypatch):
    shown = ["one Queued\ntwo Queued\nother Running", "one Running\ntwo Running", "one Success\ntwo Running",
             "two Running\nthree Queued", "two Success\nthree Running", "three Success"]  # fmt: skip
    started, kept = [], []

    def dvc(command, **_):
        started.extend([len(shown)] if "start" in command else [])
        return SimpleNamespace(stdout=shown.pop(0) if "status" in command else "")

    monkeypatch.setattr(sweep.subprocess, "run", dvc)
    monkeypatch.setattr(sweep, "POLL_S", 0)
    sweep._wait({"one": {}, "two": {}, "three": {}}, 2, lambda: kept.append(len(shown)))
    assert started == [5, 2], "at first, and where two could run and one does"
    assert kept[-1] == 0, "until all have run"
    assert not shown
