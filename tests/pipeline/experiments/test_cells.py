"""Results of cells: valid for the present settings only, and shared by experiments with equal settings."""

import json
from dataclasses import replace

from pipeline.experiments import cells, metrics, tables
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.loop import Outcome

OUTCOME = Outcome(state=None, history=None, entries=[], rounds=[])


def test_a_cell_with_other_settings_counts_as_not_run(experiment):
    assert cells.result("tiny", "", 0) is not None
    path = cells.path("tiny", "", 0)
    path.write_text(path.read_text().replace(cells._digest("tiny", "", 0), "other"))
    assert cells.result("tiny", "", 0) is None
    assert "2 seeds, 2 min each" in tables.tables("tiny")


def test_an_arm_that_is_new_is_trained_beside_the_results_that_were_there(experiment, monkeypatch, tmp_path):
    before = json.loads(cells.path("tiny", "", 0).read_text())
    larger = replace(EXPERIMENTS["tiny"], arms=("automated", "weight-decay", "hitl", "random-mask"), explainers=())
    monkeypatch.setitem(EXPERIMENTS, "tiny", larger)
    stored = {**before, "settings": cells._digest("tiny", "", 0), "looks": []}
    cells.path("tiny", "", 0).write_text(json.dumps(stored))
    trained = []
    monkeypatch.setattr(cells, "WORK", tmp_path / "work")
    monkeypatch.setattr(cells, "begin", lambda *_, **__: None)
    monkeypatch.setattr(cells, "train_arms", lambda _, arms, **__: trained.extend(arms) or dict.fromkeys(arms, OUTCOME))
    monkeypatch.setattr(cells, "arm_result", lambda _, arm, *__, **___: {"new": arm})
    found = cells.run("tiny", "", 0)
    assert trained == ["weight-decay", "hitl"], "placebos follow the masks of `hitl`"
    assert list(found["arms"]) == ["baseline", *larger.arms]
    assert found["arms"].pop("weight-decay") == {"new": "weight-decay"}
    assert found["arms"] == before["arms"], "what was published stays"
    assert found["minutes"] is None


def test_a_cell_that_ran_for_another_experiment_is_not_run_again(experiment, monkeypatch):
    for name, arms in (("smaller", ("automated", "hitl")), ("larger", ("automated", "hitl", "weight-decay"))):
        of = Experiment("?", "decoy-digits-20pct", 1, metrics.SHORTCUT, arms, seeds=3)
        monkeypatch.setitem(EXPERIMENTS, name, of)
    assert cells.result("smaller", "", 1) == cells.result("tiny", "", 1)
    assert cells.result("larger", "", 1) is None, "an arm is missing"
    monkeypatch.setitem(EXPERIMENTS, "smaller", replace(EXPERIMENTS["smaller"], explainers=("integrated-gradients",)))
    assert cells.result("smaller", "", 1) is None, "an explainer is missing"
    assert cells._digest("budget", "100 answers", 1) == cells._digest("crowds", "one, right", 1)
    assert cells._digest("budget", "100 answers", 1) == cells._digest("strategies", "entropy", 1)
    assert cells._digest("budget", "100 answers", 1) == cells._digest("decoy-digits", "", 1)
