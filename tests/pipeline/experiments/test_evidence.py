"""report/evidence.json: each arm's number and each difference, with the interval over seeds."""

import json
from dataclasses import replace

import pytest
from fakes.cells import cell

from pipeline.experiments import cells, evidence
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.metrics import SHORTCUT


@pytest.fixture
def written(experiment, monkeypatch):
    """Write the evidence of the tiny experiment, in two variants, and return what the file holds."""
    keyed = (replace(SHORTCUT[1], key="shifted"), SHORTCUT[0])
    variants = {"20 answers": {}, "100 answers": {}}
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(EXPERIMENTS["tiny"], metrics=keyed, variants=variants))
    monkeypatch.setattr(cells, "_digest", lambda name, variant, seed: variant)
    monkeypatch.setattr(evidence, "FILE", experiment / "report" / "evidence.json")

    def write(seeds):
        for seed in range(seeds):
            found = cell(0.9, 0.5 + 0.1 * seed) | {"settings": "20 answers"}
            cells.path("tiny", "20 answers", seed).write_text(json.dumps(found))
        evidence.write()
        return json.loads(evidence.FILE.read_text())

    return write


def test_numbers_are_flat_and_paired_by_seed(written):
    found = written(3)
    assert found["tiny-20.hitl-automated.shifted"] == [0.1, 0.1, 0.1], "the same in every seed"
    assert found["tiny-20.automated-hitl.shifted"] == [-0.1, -0.1, -0.1]
    assert found["tiny-20.hitl-placebo.shifted"] == [0.1, 0.1, 0.1]
    mean, low, high = found["tiny-20.hitl.shifted"]
    assert mean == pytest.approx(0.7)
    assert 0.6 <= low < mean < high <= 0.8
    assert not [name for name in found if "tiny-100" in name], "this variant has not run"
    ends = {name.rpartition(".")[2] for name in found if name.startswith("tiny")}
    assert ends == {"shifted", "expert_minutes"}, "the other metric has no key"


def test_the_experts_time_is_there(written):
    seconds = sum(spent for _, _, spent in cell(0.9, 0.5)["rounds"])
    assert seconds > 0
    assert written(3)["tiny-20.hitl.expert_minutes"][0] == pytest.approx(seconds / 60, abs=1e-4)


def test_of_one_seed_the_bounds_are_unknown(written):
    assert written(1)["tiny-20.hitl-automated.shifted"] == [0.1, None, None]
