"""Results of cells: valid for the present settings only, and shared by experiments with equal settings."""

from dataclasses import replace

from pipeline.experiments import cells, metrics, tables
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.experiment import Experiment


def test_a_cell_with_other_settings_counts_as_not_run(experiment):
    assert cells.result("tiny", "", 0) is not None
    path = cells.path("tiny", "", 0)
    path.write_text(path.read_text().replace(cells._digest("tiny", "", 0), "other"))
    assert cells.result("tiny", "", 0) is None
    assert "2 seeds, 2 min each" in tables.tables("tiny")


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
