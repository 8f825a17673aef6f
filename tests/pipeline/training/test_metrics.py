"""Metrics: against values worked out by hand."""

import math

import pytest
import torch

from pipeline.training import metrics


def logits(*probabilities):
    return torch.tensor(probabilities).log()


def test_two_classes_by_hand():
    z = logits([0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2])
    found = dict(metrics.classification(z, torch.tensor([0, 0, 1, 1])))
    assert found["loss"] == pytest.approx(
        -(math.log(0.9) + math.log(0.6) + math.log(0.7) + math.log(0.2)) / 4, rel=1e-5
    )
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == 0.75  # of four pairs, (0.4, 0.2) is the wrong way round
    assert found["ece"] == pytest.approx((0.1 + 0.4 + 0.3 + 0.8) / 4, abs=1e-6)  # a bin each
    assert "kappa" not in found


def test_the_rare_class_counts_in_balanced_accuracy():
    z = logits(*[[0.9, 0.1]] * 10)
    found = dict(metrics.classification(z, torch.tensor([0] * 9 + [1])))
    assert found["accuracy"] == 0.9
    assert found["balanced_accuracy"] == 0.5
    assert found["auc"] == 0.5
    assert found["ece"] == pytest.approx(0.0, abs=1e-6)  # it says 90%, and is right in 90%


def test_grades_by_hand():
    z = torch.eye(3)[[0, 1, 2, 1]] * 5
    found = dict(metrics.classification(z, torch.tensor([0, 1, 2, 2])))
    # Cohen 1968: 1 - sum(w O) / sum(w E), w = squared distance; O has one miss by one grade.
    expected = (1 * 2 * 1 + 1 * 1 * 4 + 1 * 1 * 1 + 1 * 1 * 1 + 2 * 1 * 4 + 2 * 2 * 1) / 4
    assert found["kappa"] == pytest.approx(1 - 1 / expected)
    assert found["accuracy"] == 0.75


def test_what_a_split_cannot_say_is_left_out():
    found = dict(metrics.classification(torch.zeros(4, 3), torch.tensor([0, 0, 1, 1])))
    assert "auc" not in found  # the third class does not occur
    same = dict(metrics.classification(torch.eye(3)[[0, 0]] * 5, torch.tensor([0, 0])))
    assert "kappa" not in same  # agreement, but no grading


def test_recall_of_each_class_and_the_worst_group():
    z = torch.eye(2)[[0, 0, 1, 0] * 10]
    labels = torch.tensor([0, 0, 1, 1] * 10)
    assert dict(metrics.by_class(z, labels, ["benign", "melanoma"])) == {"recall_benign": 1.0, "recall_melanoma": 0.5}
    groups = [0, 0, 1, 1] * 10
    assert dict(metrics.worst_group(z, labels, groups)) == {"worst_group_accuracy": 0.5}
    assert dict(metrics.worst_group(z, labels, [None] * 40)) == {}
    assert dict(metrics.worst_group(z, labels, list(range(40)))) == {}, "a group of one is no group"


def test_each_value_of_an_attribute_and_each_class_has_its_accuracy():
    z = logits(*[[0.9, 0.1]] * 45)  # class 0 everywhere
    labels = torch.tensor([0] * 20 + [1] * 25)
    values = ["ruler"] * 10 + ["no ruler"] * 10 + ["ruler"] * 12 + ["no ruler"] * 9 + [None] * 4
    found = dict(metrics.by_attribute(z, labels, ["benign", "bad"], attribute="ruler", values=values))
    assert found == {
        "accuracy_no-ruler_benign": 1.0,
        "accuracy_ruler_benign": 1.0,
        "accuracy_ruler_bad": 0.0,  # nine are too few without a ruler
        "worst_ruler_accuracy": 0.0,
    }
    assert not dict(metrics.by_attribute(z, labels, ["benign", "bad"], attribute="ruler", values=[None] * 45))


def test_a_network_that_follows_the_attribute_alone_has_a_balanced_auc_of_one_half():
    values, labels = ["ruler"] * 40 + ["no ruler"] * 40, torch.tensor([1] * 30 + [0] * 10 + [1] * 10 + [0] * 30)
    follows = logits(*[[0.1, 0.9]] * 40, *[[0.9, 0.1]] * 40)
    assert dict(metrics.classification(follows, labels))["auc"] == pytest.approx(0.75)
    found = dict(metrics.by_attribute(follows, labels, ["benign", "bad"], attribute="ruler", values=values))
    assert found["balanced_ruler_auc"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.classification,
        lambda z, y: metrics.by_class(z, y, ["a", "b", "c"]),
        lambda z, y: metrics.worst_group(z, y, [0] * len(z)),
        lambda z, y: metrics.by_attribute(z, y, ["a", "b", "c"], attribute="site", values=["x"] * len(z)),
    ],
)
def test_labels_that_are_no_class_and_a_single_logit_are_refused(metric):
    for wrong in (-100, -1, 3):
        with pytest.raises(ValueError, match=rf"labels must be class numbers from 0 to 2, but there is {wrong}\. Fix:"):
            list(metric(torch.zeros(20, 3), torch.tensor([0, 1] * 9 + [2, wrong])))
    with pytest.raises(ValueError, match="two logits or more, but the network has one"):
        list(metric(torch.zeros(20, 1), torch.zeros(20, dtype=torch.long)))
