"""Scores of findings: per finding and macro, on external sets too, with probabilities of each finding in the file."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import data_set, small
from fakes.queries import manifest

from pipeline.config import Explain, External
from pipeline.data import external, prepared, subset
from pipeline.errors import ConfigError
from pipeline.evaluation import attention, before_after, predictions, scores
from pipeline.training import inference, states
from pipeline.training.metrics import by_class, classification

NAMES, LABELS = ["a", "b"], ["", "a", "b", "a|b"]


def prepare(folder, names=NAMES, labels=LABELS, first=0):
    """Prepare 24 training images and eight of val and test each."""
    splits = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    items = [data_set.item(first + n, labels[n % 4], split) for n, split in enumerate(splits)]
    table = prepared.write_arrays(folder, count=len(items), size=data_set.SIZE, items=iter(items))
    prepared.write_index(folder, name="x", classes=names, table=table.assign(id=table["name"]), findings=True)
    return prepared.read(folder)


@pytest.fixture
def data(tmp_path):
    return prepare(tmp_path / "data")


@pytest.fixture
def state():
    state = states.begin(small.network(NAMES, findings=True), small.TRAIN)
    state.model.network.classifier.weight.data *= 300
    return state


def test_an_arm_is_scored_by_finding_and_on_an_external_set(data, state, tmp_path):
    elsewhere = prepare(tmp_path / "ph2", ["x", "c", "b"], ["c", "x", "b", "x|b"], first=1000)
    mapped = external._mapped(elsewhere, External(dataset="ph2", classes={"x": "a", "c": None}), NAMES)
    assert mapped.index["label"].tolist()[:4] == LABELS
    splits = subset.by_split(data, subset.choose(data, 1.0, 0))
    found = scores.evaluate_arm(
        state, arm="hitl", history=pd.DataFrame({"step": ["00"], "val_loss": [0.5]}), data=data, splits=splits,
        probes=splits["val"], disregarded={}, settings=Explain(), external={"external-ph2": mapped},
    )  # fmt: skip
    for split, images in (("test", splits["test"]), ("external-ph2", subset.whole(mapped))):
        z = inference.logits(state, images.pixels)
        wanted = {**dict(by_class(z, images.labels, NAMES))}
        assert {f"recall_{n}" for n in NAMES} | {f"auc_{n}" for n in NAMES} <= set(wanted)
        assert {name: found.scores[f"{split}_{name}"] for name in wanted} == wanted
    rows = predictions.images(splits | {"external-ph2": subset.whole(mapped)}, NAMES)
    predictions.write(tmp_path / "x.csv", rows, [found.predictions])
    read = predictions.read(tmp_path / "x.csv")
    assert list(read) == ["hitl"]
    wanted = dict(classification(z, images.labels))
    assert read["hitl"]["external-ph2"].right.mean() == wanted["accuracy"]
    assert read["hitl"]["external-ph2"].loss.mean() == pytest.approx(wanted["loss"], rel=1e-5)
    each = pd.read_csv(tmp_path / "x.csv")
    of_b = each.loc[each["split"] == "external-ph2", "b: hitl"]
    assert of_b.tolist() == pytest.approx(z.sigmoid()[:, 1].tolist(), rel=1e-4)
    assert all(text.split("? ")[0] in NAMES for text in found.probe_predictions)


def test_an_external_set_must_say_where_each_finding_is(data, tmp_path):
    elsewhere = prepare(tmp_path / "ph2", ["x", "b"], ["", "x", "b", "x|b"], first=1000)
    with pytest.raises(ConfigError, match=r"'ph2' does not say where a is there\. Fix: map one of its findings"):
        external._mapped(elsewhere, External(dataset="ph2", classes={"x": None}), NAMES)
    with pytest.raises(ConfigError, match="x → x"):
        external._mapped(elsewhere, External(dataset="ph2"), NAMES)


def test_attention_on_marks_is_of_the_finding_that_they_belong_to(data, state):
    images = subset.whole(data)
    areas = dict.fromkeys(images.ids[:4], np.eye(data_set.SIZE, dtype=np.float32))
    found = {
        name: attention.measure(
            state, images=images, areas=areas, name="marked", settings=Explain(), about=dict.fromkeys(areas, name)
        )
        for name in NAMES
    }
    assert found["a"] != found["b"]
    uncertain = attention.measure(state, images=images, areas=areas, name="evidence", settings=Explain())
    assert set(uncertain) >= {"evidence_gradient", "evidence_deeplift", "pointing_deeplift"}


def test_before_and_after_a_round_the_querys_finding_is_explained(data, state, tmp_path, monkeypatch):
    (query,) = manifest(tmp_path, 1).queries
    images = subset.whole(data)
    query = dataclasses.replace(query, image_id=images.ids[0], finding="b", prediction="is b there? p = 0.47")
    seen = []
    monkeypatch.setattr(before_after, "explain", lambda *_, target, **__: seen.append(target) or [None])
    asked = dataclasses.replace(manifest(tmp_path, 1), queries=(query,))
    entry = before_after.masks.Entry.of("00", images.ids[0], np.eye(16), np.eye(16) > 0, finding="b")
    before_after.attention(state, images=images, entries=[entry], manifest=asked, settings=Explain())
    assert torch.equal(seen[0], torch.tensor([1]))
