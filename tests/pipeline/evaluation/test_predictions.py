"""The predictions of each arm, written once and read by arm and split."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import small

from pipeline.data.loading import Images
from pipeline.errors import DamagedFileError
from pipeline.evaluation import predictions, score_files, scores
from pipeline.training import inference, states
from pipeline.training.metrics import classification

CLASSES = ["01", "none"]  # pandas must read them as text


@pytest.fixture
def pool():
    return small.images(6)


@pytest.fixture
def state():
    return states.begin(small.network(CLASSES, "tf_efficientnet_lite0"), small.TRAIN)


def test_predictions_are_written_once_and_read_by_arm_and_split(tmp_path, state, pool):
    splits = {"train": pool, "val": pool, "test": pool}
    logits = scores.held_out_logits(state, splits)
    columns = [predictions.columns(logits, arm=arm, splits=splits, classes=CLASSES) for arm in ("automated", "hitl")]
    predictions.write(tmp_path / "x.csv", predictions.images(splits, CLASSES), columns)
    found = predictions.read(tmp_path / "x.csv")
    assert list(found) == ["automated", "hitl"]
    assert list(found["hitl"]) == ["val", "test"]
    expected = dict(classification(inference.logits(state, pool.pixels), pool.labels))
    assert found["hitl"]["test"].right.mean() == expected["accuracy"]
    assert found["hitl"]["test"].loss.mean() == pytest.approx(expected["loss"], rel=1e-5)


def test_a_value_that_two_attributes_have_is_named_with_its_attribute():
    ids = [f"i{n}" for n in range(40)]
    values = {"ruler": ["1"] * 20 + ["0"] * 20, "hair": ["0", "1"] * 20, "site": ["A"] * 39 + [None]}
    index = pd.DataFrame({"id": ids, "group": pd.NA, **values})
    data = SimpleNamespace(index=index, attributes=tuple(values), classes=["a", "b"])
    labels = torch.zeros(40, dtype=torch.long)
    logits = torch.tensor([[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20)  # right where there is a ruler
    splits = {"test": Images(ids, np.zeros((40, 8, 8, 3), np.uint8), labels)}
    found = scores.class_and_group_scores({"test": logits}, data=data, splits=splits)
    assert {name: value for name, value in found.items() if name.startswith("test_accuracy")} == {
        "test_accuracy_ruler-1_a": 1.0, "test_accuracy_ruler-0_a": 0.0,
        "test_accuracy_hair-1_a": 0.5, "test_accuracy_hair-0_a": 0.5, "test_accuracy_A_a": 20 / 39,
    }  # fmt: skip


def test_a_missing_or_damaged_file_names_itself_and_the_remedy(tmp_path):
    (tmp_path / "damaged.csv").write_text("image,hitl.prediction\na,b\n")
    (tmp_path / "damaged.json").write_text("{")
    for read, name in (
        (predictions.read, "missing.csv"),
        (predictions.read, "damaged.csv"),
        (score_files.read, "missing.json"),
        (score_files.read, "damaged.json"),
    ):
        with pytest.raises(DamagedFileError, match=rf"cannot read .*{name} .*Fix: run `dvc repro`"):
            read(tmp_path / name)


def test_the_probe_images_are_the_same_for_the_same_seed_and_shifted_where_possible(pool):
    shifted = Images([f"shifted-{n}" for n in range(20)], np.zeros((20, 8, 8, 3), np.uint8), torch.zeros(20))
    found = scores.probe_images({"test": pool, "test-shifted": shifted}, 0)
    assert len(found.ids) == scores.PROBES
    assert found.ids == scores.probe_images({"test-shifted": shifted}, 0).ids
    assert set(found.ids) < set(shifted.ids)
    assert found.ids != scores.probe_images({"test-shifted": shifted}, 1).ids
    assert set(scores.probe_images({"test": pool}, 0).ids) == set(pool.ids)
