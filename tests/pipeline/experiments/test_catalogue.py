"""The catalogue: valid settings for each variant, and the metrics of an experiment."""

import pytest

from pipeline.experiments import catalogue, cells, metrics
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.experiment import Metric, rounds


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_has_settings_of_its_own_that_are_valid(name):
    about = EXPERIMENTS[name]
    config = catalogue.settings(name, next(iter(about.variants)), seed=3)
    assert (config.seed, config.hitl.scenarios) == (3, [about.scenario])
    digests = {cells._digest(name, v, seed) for v in about.variants for seed in (0, 1)}
    assert len(digests) == 2 * len(about.variants)
    assert len({cells.path(name, v, 0) for v in about.variants}) == len(about.variants)


def test_rounds_share_out_the_queries():
    changes = rounds(50, [1, 1, 4])
    assert [(r["n"], r["after"], r["queries"], r["epochs"]) for r in changes["hitl.rounds"]] == [
        ("00", "start", 17, 1), ("01", "00", 17, 1), ("02", "01", 16, 4)
    ]  # fmt: skip
    assert changes["hitl.last"] == "02"


def test_an_experiment_may_ask_otherwise_and_of_experts_who_mark_evidence():
    changes = {"scenario.query.strategy": "spread-entropy", "annotate.crowd": [{"marks": "evidence"}]}
    config = catalogue.settings("isic-ruler", "20 answers", seed=0, others=changes)
    assert config.scenario("isic-ruler").query.strategy == "spread-entropy"
    assert [expert.marks for expert in config.annotate.crowd] == ["evidence"]
    without = catalogue.settings(
        "isic-ruler", "20 answers", seed=0, others={**changes, "scenario.feedback.spread": "off"}
    )
    assert without.scenario("isic-ruler").query.strategy == "spread-entropy", "it needs no spreading"


def test_a_metric_of_the_experiments_is_worked_out_by_hand():
    closed = metrics.HARM
    arm = {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8}
    automated = {"test_accuracy": 1.0, "test-shifted_accuracy": 0.6}
    assert closed.of(arm, automated) == pytest.approx(0.75)
    assert isinstance(closed, Metric)
    worst = metrics.MNIST[2]
    assert worst.of({"test-shifted_recall_3": 0.7, "test-shifted_recall_4": 0.6, "test_recall_1": 0.1}, {}) == 0.6
