"""The cross-validated AUC of one reading: the library's value, honest intervals, whole patients."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.screening import auc


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def of(codes, labels, patients=None, shuffles=None):
    patients = np.arange(len(labels)) if patients is None else patients
    shuffles = auc.shuffled(labels, patients) if shuffles is None else shuffles
    return auc.cross_validated(codes, labels, classes=np.unique(labels), patients=patients, shuffles=shuffles)


def drawn(rng, count, share_of_ones=(0.3, 0.6)):
    """Labels, and a reading that is 1 with another probability in each class."""
    labels = rng.permutation(np.arange(count) % 2)
    return (rng.random(count) < np.array(share_of_ones)[labels]).astype(int), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_the_mean_over_folds_of_the_librarys_auc(rng, classes):
    labels = rng.permutation(np.arange(300) % classes)
    codes = np.where(rng.random(300) < 0.4, labels, rng.integers(0, 6, 300))
    patients = np.arange(300) // 3
    fold = auc.folds(labels, patients)
    by_class = []
    for label in range(classes):
        found = []
        for f in range(auc.FOLDS):
            others = fold != f
            share = [
                ((labels[others & (codes == c)] == label).sum() + (labels[others] == label).mean())
                / ((others & (codes == c)).sum() + 1)
                for c in range(6)
            ]
            found.append(roc_auc_score(labels[~others] == label, np.array(share)[codes[~others]]))
        by_class.append(np.mean(found))
    assert of(codes, labels, patients).value == pytest.approx(np.mean(by_class), abs=1e-12)


@pytest.mark.parametrize("ones", [(0.3, 0.6), (0.1, 0.9), (0.4, 0.4)])
def test_the_interval_holds_the_truth(rng, ones):
    truth, covered = 0.5 + abs(ones[1] - ones[0]) / 2, 0
    for _ in range(200):
        found = of(*drawn(rng, 240, ones))
        interval = found.interval(predicts=auc.predicting([found])[0])
        covered += interval.low <= truth <= interval.high
    assert 0.91 <= covered / 200 <= 0.99


@pytest.mark.parametrize("per_patient", [1, 5])
def test_chance_names_a_reading_in_at_most_5_percent_of_the_data_sets(rng, per_patient):
    patients, named, naive, rounds = np.arange(200) // per_patient, 0, 0, 100
    for _ in range(rounds):
        count = len(np.unique(patients))
        labels = rng.permutation(np.arange(count) % 3 // 2)[patients]
        shuffles = auc.shuffled(labels, patients)
        readings = (rng.integers(0, values, count)[patients] for values in (2, 2, 3, 4, 10, 10))
        found = [of(codes, labels, patients, shuffles) for codes in readings]
        named += any(auc.predicting(found))
        naive += any(any(auc.predicting([one])) for one in found)
    assert named / rounds < 0.1, "5%, and the chance of this test"
    assert naive / rounds > 0.12, "otherwise the comparison of all readings would be idle"


def test_a_signal_is_named_among_others(rng):
    codes, labels = drawn(rng, 300)
    found = [of(rng.integers(0, 10, 300), labels), of(codes, labels), of(rng.integers(0, 2, 300), labels)]
    assert auc.predicting(found) == [False, True, False]
    assert auc.predicting([]) == []
    assert auc.predicting([of(np.zeros(300, int), labels)]) == [False]


def test_images_of_one_patient_count_as_one_patient(rng):
    codes, labels = drawn(rng, 200)
    once = of(codes, labels)
    patients = np.repeat(np.arange(200), 4)
    often = of(np.repeat(codes, 4), np.repeat(labels, 4), patients)
    alone = of(np.repeat(codes, 4), np.repeat(labels, 4))
    assert often.error == pytest.approx(once.error, rel=0.1)
    assert alone.error == pytest.approx(once.error / 2, rel=0.1), "otherwise patients would change nothing"


def test_shuffled_labels_stay_together_by_patient():
    patients = np.array([2, 0, 0, 1, 1, 1, 2])
    labels = np.array([0, 1, 1, 2, 2, 2, 0])
    found = auc.shuffled(labels, patients)
    assert found.shape == (auc.SHUFFLES, 7)
    assert all(len(set(row[patients == one])) == 1 for row in found for one in range(3))
    assert set(map(tuple, found[:, [1, 3, 0]].tolist())) == set(permutations([0, 1, 2]))


def test_labels_of_a_patient_with_several_are_shuffled_too():
    found = auc.shuffled(np.arange(100) % 2, np.arange(100) // 2)
    assert 0.4 < found[:, 0].mean() < 0.6
    assert (found.reshape(-1, 50, 2).sum(axis=2) == 1).all()


def test_a_patient_has_one_fold_and_each_fold_has_the_rare_class():
    patients = np.repeat(np.arange(60), 3)
    labels = (patients % 12 == 0).astype(int)
    fold = auc.folds(labels, patients)
    assert all(len(set(fold[patients == one])) == 1 for one in range(60))
    assert [int(((fold == f) & (labels == 1)).sum()) for f in range(auc.FOLDS)] == [3] * 5
    assert np.array_equal(fold, auc.folds(labels, patients))


def test_a_reading_that_is_the_class_is_perfect_and_an_interval_never_leaves_0_to_1():
    labels = np.arange(100) % 2
    found = of(labels, labels).interval(predicts=True)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    codes = np.where(np.arange(100) < 4, 1 - labels, labels)
    assert of(codes, labels).interval(predicts=False).high <= 1
