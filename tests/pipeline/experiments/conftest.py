"""Fixtures of the experiments' tests."""

import json

import pytest
from fakes.cells import cell

from pipeline.experiments import cells, metrics
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.experiment import Experiment


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment with three finished seeds, in a temporary folder of results."""
    monkeypatch.setitem(
        EXPERIMENTS,
        "tiny",
        Experiment("?", "decoy-digits-20pct", 1, metrics.SHORTCUT, ("automated", "hitl", "random-mask"), seeds=3),
    )
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    for seed, accuracy in enumerate((0.90, 0.92, 0.94)):
        found = cell(accuracy, accuracy - 0.4, placebo_gain=0.02 * (seed - 1))
        path = cells.path("tiny", "", seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found | {"settings": cells._digest("tiny", "", seed)}))
    return tmp_path
