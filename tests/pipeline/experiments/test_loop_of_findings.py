"""The loop on findings: every arm on several, and on one the forms of feedback that several do not have."""

import numpy as np
import pytest
from fakes import data_set

from pipeline.config import Config
from pipeline.data import prepared
from pipeline.experiments import cells, protocols
from pipeline.experiments.experiment import rounds
from pipeline.experiments.loop import Loop
from pipeline.models import files
from pipeline.models.backbones import pretrained

SCENARIO = "decoy-mnist"
PHOTOGRAPHS = {"form": "counterexamples", "edge": 0.1, "refit": "on", "spread": {"precision": 0.8}, "consistency": 1.0}
PLACEBOS = ("random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published")


@pytest.fixture
def new_loop(tmp_path, monkeypatch):
    """Return a loop of some findings with some settings of the scenario."""
    monkeypatch.setattr(data_set, "SIZE", 28)  # of the small CNN's images, pixels

    def new_loop(findings, **changes):
        labels = ["", *findings, "|".join(findings)]
        splits = {"train": range(24), "val": range(24, 32), "test": range(32, 40)}
        items = [data_set.item(n, labels[n % len(labels)], split) for split, some in splits.items() for n in some]
        folder = tmp_path / "data"
        table = prepared.write_arrays(folder, count=len(items), size=28, items=iter(items))
        table = table.assign(id=table["name"])
        prepared.write_index(folder, name="x", classes=findings, table=table, findings=True)
        document = protocols.plain(protocols.EXPERIMENTS)
        asked = {key.removeprefix("hitl."): value for key, value in rounds(14, [1, 1]).items()}
        document["hitl"] |= {"scenarios": [SCENARIO], **asked}
        document["scenarios"][SCENARIO] |= {"init": str(tmp_path / "cnn.pt"), **changes}
        config = Config.model_validate(document)
        files.write(pretrained("cnn", config.backbones["cnn"], config.seed), tmp_path / "cnn.pt")
        return Loop(config, SCENARIO, data=prepared.read(folder), folder=tmp_path / "shared")

    return new_loop


def test_every_arm_trains_on_several_findings(new_loop):
    one = new_loop(["a", "b"], penalty={"form": "share", "output": "predicted", "weight": 10.0})
    object.__setattr__(one.data, "known_evidence", lambda _: np.zeros((28, 28), bool))  # experts mark all
    found = cells.train_arms(one, ("automated", "hitl", *PLACEBOS, "masktune"), given=None)
    entries = found["hitl"].entries
    assert len({entry.image_id for entry in entries}) == len(entries) == 14, "each image becomes a query once"
    assert {entry.finding for entry in entries} <= {"a", "b"}
    for arm in ("hitl", "random-mask", "shuffled-mask", "weight-decay", "as-published", "masktune"):
        assert found[arm].history["penalty"].max() > 0, arm
    weights = {arm: outcome.state.model.network.classifier.weight.detach().numpy() for arm, outcome in found.items()}
    assert np.array_equal(weights["as-published"], weights["automated"]), "it reaches no weight"
    assert not np.array_equal(weights["hitl"], weights["automated"])
    numbers = cells.arm_result(one, "hitl", found["hitl"], disregarded=None, explainers=())["numbers"]
    assert {"test_auc_a", "test_average_precision_b", "test_auc"} <= set(numbers)


def test_masks_of_all_findings_at_once_are_refused(new_loop):
    one = new_loop(["a", "b"], penalty={"form": "share", "output": "predicted", "weight": 10.0})
    one.baseline()
    with pytest.raises(ValueError, match="belong to none of a, b"):
        one.arm("exact-masks")


def test_one_finding_has_every_form_of_feedback(new_loop, capsys):
    one = new_loop(["a"], feedback=PHOTOGRAPHS)
    left = np.zeros((28, 28), bool)
    left[:, :14] = True  # a cell's place tells what experts mark
    object.__setattr__(one.data, "known_evidence", lambda _: left)
    found = cells.train_arms(one, ("automated", "hitl", "random-mask", "exact-masks"), given=None)
    said = capsys.readouterr().out
    assert "last layer fitted on 24 images" in said
    assert any(entry.kind == "spread" for entry in found["hitl"].entries)
    assert found["hitl"].history["penalty"].max() > 0, "of `consistency`"
    assert found["hitl"].state.model.network.classifier.weight.shape[0] == 1
