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


def findings():
    """Six images of two findings: one is told well, and the other is never predicted."""
    z = torch.tensor([[2.0, -1.0], [1.0, -3.0], [-1.0, -2.0], [0.5, -1.5], [-2.0, -1.2], [-1.0, -4.0]])
    return z, torch.tensor([[1, 1], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0]])


def test_findings_by_hand():
    z, labels = findings()
    found = dict(metrics.classification(z, labels))
    assert found["loss"] == pytest.approx(
        torch.nn.functional.binary_cross_entropy_with_logits(z.double(), labels.double()).item()
    )
    assert found["accuracy"] == pytest.approx(3 / 6), "of all findings right: the second, third and last image"
    assert found["balanced_accuracy"] == pytest.approx((7 / 8 + 1 / 2) / 2)
    assert found["recall"] == pytest.approx((1 + 0) / 2)
    assert found["precision"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["auc"] == pytest.approx(1.0)
    assert found["average_precision"] == pytest.approx(1.0)
    assert 0 < found["ece"] < 1
    assert "kappa" not in found
    each = dict(metrics.by_class(z, labels, ["disk", "bar"]))
    assert each["recall_disk"] == each["auc_bar"] == each["average_precision_bar"] == 1.0
    assert each["precision_disk"] == pytest.approx(2 / 3)
    assert each["precision_bar"] == each["recall_bar"] == 0.0


def test_a_finding_that_a_split_lacks_has_no_auc_and_no_macro():
    z, labels = findings()
    labels[:, 1] = 0
    assert not {"recall_bar", "auc_bar", "precision_bar"} & dict(metrics.by_class(z, labels, ["disk", "bar"])).keys()
    assert not {"auc", "recall"} & dict(metrics.classification(z, labels)).keys()


def test_groups_and_attributes_of_findings():
    z, labels = (one.repeat(20, 1) for one in findings())
    groups = [n % 6 for n in range(120)]
    assert dict(metrics.worst_group(z, labels, groups)) == {"worst_group_accuracy": 0.0}
    values = ["left" if n % 6 == 0 else "right" for n in range(120)]
    found = dict(metrics.by_attribute(z, labels, ["disk", "bar"], attribute="side", values=values))
    assert found == {
        "accuracy_left_disk": 1.0,
        "accuracy_left_bar": 0.0,
        "accuracy_right_disk": 1.0,
        "accuracy_right_bar": 0.0,
        "worst_side_accuracy": 0.0,
    }
