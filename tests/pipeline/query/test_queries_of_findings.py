"""Queries about findings: the least certain images, the least certain finding of each, and each image once."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from fakes import small

from labelstudio.exchange.records import Manifest
from labelstudio.exchange.tasks import tasks
from pipeline.config import Explain, QuerySettings
from pipeline.errors import ConfigError
from pipeline.models.tasks import FINDINGS
from pipeline.query import sampling
from pipeline.query.explanations import targets
from pipeline.query.selection import choose
from pipeline.training import inference, states

QUERY = QuerySettings(strategy="entropy", cell=8, proposals=5)
NAMES = ["disk", "bar"]


def logits(*probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).logit()


def scores(z, strategy):
    return sampling.scores(z, torch.zeros(len(z), z.shape[1], dtype=torch.long), strategy=strategy).tolist()


def binary(p):
    return -(p * math.log2(p) + (1 - p) * math.log2(1 - p))


def test_entropies_are_summed_over_findings():
    z = logits([0.5, 0.9], [0.8, 0.8], [0.01, 0.99])
    assert scores(z, "entropy") == pytest.approx([(1 + binary(0.9)) / 2, binary(0.8), binary(0.01)])
    assert sampling.entropy(z, FINDINGS).tolist() == pytest.approx(scores(z, "entropy"))
    assert scores(logits([0.2]), "entropy") == pytest.approx([binary(0.2)]), "one logit is a task"


def test_no_softmax_over_findings():
    """Two findings that are surely there are certain, though a softmax would be undecided between them."""
    assert scores(logits([0.999, 0.999], [0.7, 0.01]), "entropy")[0] < 0.02


def test_the_other_strategies_by_hand():
    z = logits([0.5, 0.9], [0.8, 0.6])
    assert scores(z, "margin") == pytest.approx([1, 0.8]), "1 - |p - (1 - p)| of the least certain finding"
    assert scores(z, "least-confident") == pytest.approx([1 - 0.45, 1 - 0.48])
    assert len(set(scores(z, "random"))) == 2
    assert scores(z, "spread-entropy") == scores(z, "entropy")
    with pytest.raises(ValueError, match=r"confident-mistakes.*Fix: use another strategy"):
        scores(z, "confident-mistakes")


def test_the_explained_finding_is_the_least_certain_or_a_named_one():
    z, labels = logits([0.1, 0.6], [0.45, 0.9]), torch.zeros(2, 2, dtype=torch.long)
    assert targets(z, labels, classes=NAMES, settings=Explain()).tolist() == [1, 0]
    assert targets(z, labels, classes=NAMES, settings=Explain(target="bar")).tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"`query\.explain\.target` is 'true'"):
        targets(z, labels, classes=NAMES, settings=Explain(target="true"))


@pytest.fixture
def state():
    state = states.begin(small.network(NAMES, findings=True), small.TRAIN)
    state.model.network.classifier.weight.data *= 300
    return state


def asked(state, folder, known=None, **settings):
    (folder / "images").mkdir(exist_ok=True)
    return choose(
        state, small.findings(8), asked=known or {}, count=4, settings=QUERY.model_copy(update=settings), seed=0,
        folder=folder,
    )  # fmt: skip


def test_a_query_names_its_finding_the_truth_and_the_probability(state, tmp_path):
    pool, found = small.findings(8), asked(state, tmp_path)
    z = dict(zip(pool.ids, inference.logits(state, pool.pixels).double(), strict=True))
    labels = dict(zip(pool.ids, pool.labels.tolist(), strict=True))
    assert len(found) == 4
    for query in found:
        number = int(z[query.image_id].abs().argmin())
        assert query.finding == NAMES[number], "the least certain one"
        p = float(z[query.image_id][number].sigmoid())
        assert query.prediction == f"is {query.finding} there? p = {p:.2f}"
        there, also = labels[query.image_id][number], labels[query.image_id][1 - number]
        truth = f"{query.finding} is {'there' if there else 'not there'}"
        assert query.label == truth + (f"; also {NAMES[1 - number]}" if also else "")
        assert query.probabilities == pytest.approx(
            dict(zip(NAMES, z[query.image_id].sigmoid().tolist(), strict=True)), abs=1e-4
        )
    explained = {query.finding for query in asked(state, tmp_path, explain=Explain(target="bar"))}
    assert explained == {"bar"}


def test_the_page_shows_the_finding_and_the_file_keeps_it(state, tmp_path):
    manifest = Manifest("shapes", "00", tuple(asked(state, tmp_path)))
    manifest.write(tmp_path / "queries.json")
    assert Manifest.read(tmp_path / "queries.json") == manifest
    for task, query in zip(tasks(manifest, lambda q: q.image, lambda q: q.heat), manifest.queries, strict=True):
        assert task["data"]["prediction"].startswith(f"is {query.finding} there? p = 0.")
        assert task["data"]["label"].startswith(f"{query.finding} is ")


def test_the_same_regions_about_another_finding_are_another_question(state, tmp_path):
    query = asked(state, tmp_path)[0]
    keys = {dataclasses.replace(query, finding=name).key("shapes") for name in ("", *NAMES)}
    assert len(keys) == 3
    document = json.loads(_written(dataclasses.replace(query, finding=""), tmp_path))
    assert "finding" not in document["queries"][0], "files of classes are as before"


def _written(query, folder):
    Manifest("shapes", "00", (query,)).write(folder / "queries.json")
    return (folder / "queries.json").read_text()


def test_with_several_findings_an_image_is_asked_about_once(state, tmp_path):
    some = np.zeros((small.SIZE, small.SIZE), bool)
    some[0, 0] = True  # nearly all regions would be new
    first = [query.image_id for query in asked(state, tmp_path)]
    again = asked(state, tmp_path, known=dict.fromkeys(first, some))
    assert not {query.image_id for query in again} & set(first)


def test_one_finding_may_be_asked_about_again(tmp_path):
    state = states.begin(small.network(["bar"], findings=True), small.TRAIN)
    (tmp_path / "images").mkdir()
    pool, some = small.findings(8), np.zeros((small.SIZE, small.SIZE), bool)
    some[0, 0] = True
    pool.labels = pool.labels[:, :1]
    found = choose(state, pool, asked=dict.fromkeys(pool.ids, some), count=4, settings=QUERY, seed=0, folder=tmp_path)
    assert len(found) == 4
    assert {query.finding for query in found} == {"bar"}
