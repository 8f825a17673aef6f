"""How sure a number is, against values worked out by hand and by other means."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation import statistics
from pipeline.evaluation.statistics import Interval


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_an_interval_over_five_seeds_is_nearly_students_and_never_beyond_the_readings():
    readings = [0.70, 0.72, 0.69, 0.75, 0.71]
    found = statistics.mean_over_seeds(readings)
    half = stats.t.ppf(0.975, 4) * stats.sem(readings)
    assert found.value == pytest.approx(0.714)
    assert min(readings) <= found.low < found.value < found.high <= max(readings)
    assert 0.7 * 2 * half < found.high - found.low < 2 * half
    assert found == statistics.mean_over_seeds(readings)


def test_it_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [statistics.mean_over_seeds(rng.standard_normal(5)) for _ in range(400)]
    assert np.mean([one.includes_zero() for one in found]) == pytest.approx(0.92, abs=0.03)


def test_two_arms_are_compared_seed_by_seed():
    automated = np.array([0.50, 0.61, 0.55, 0.70, 0.48])
    gain = np.array([0.02, 0.03, 0.025, 0.02, 0.03])
    found = statistics.paired_difference(automated + gain, automated)
    assert found.value == pytest.approx(0.025)
    assert 0.0199 < found.low < found.high < 0.0301  # though the seeds themselves lie 0.2 apart
    assert statistics.verdict(found) == "higher"


def test_one_seed_says_nothing_and_equal_seeds_are_certain():
    one = statistics.paired_difference([0.9], [0.8])
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert statistics.verdict(one) == "no difference shown"
    assert statistics.show(one, scale=100, digits=1) == "10.0"
    assert statistics.deviation([0.9]) is None
    assert statistics.deviation([1, 2, 3]) == 1
    assert statistics.paired_difference([1, 2, 3], [1, 2, 3]) == Interval(0, 0, 0)


def test_losses_over_images_have_the_interval_of_the_central_limit():
    losses = np.random.default_rng(1).exponential(size=2000)
    found = statistics.mean_over_images(losses)
    half = 1.96 * losses.std() / math.sqrt(2000)
    assert found.low == pytest.approx(losses.mean() - half, abs=0.003)
    assert found.high == pytest.approx(losses.mean() + half, abs=0.003)


def test_many_images_are_drawn_in_parts(monkeypatch):
    losses = np.random.default_rng(1).exponential(size=200)
    whole = statistics.mean_over_images(losses)
    monkeypatch.setattr(statistics, "AT_ONCE", 20_000)
    assert statistics.mean_over_images(losses).low == pytest.approx(whole.low, abs=0.01)


def test_no_error_seen_does_not_mean_that_there_is_none():
    found = statistics.share_of_images([True] * 100)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(100 / (100 + 1.96**2), abs=1e-4)


def test_mcnemar_counts_the_images_on_which_two_networks_differ():
    # Ours alone is right on 8, theirs alone on 1: p = 2 (C(9,0) + C(9,1)) / 2^9.
    ours = np.array([True] * 8 + [False] + [True] * 50 + [False] * 5)
    theirs = np.array([False] * 8 + [True] + [True] * 50 + [False] * 5)
    assert statistics.mcnemar(ours, theirs) == pytest.approx(2 * (1 + 9) / 2**9)
    assert statistics.mcnemar(ours, ours) == 1


def test_numbers_are_shown_with_their_intervals():
    assert statistics.show(Interval(0.516, 0.47, 0.58)) == "0.52 [0.47, 0.58]"
    assert statistics.show(Interval(-0.012, -0.03, 0.004), scale=100, digits=1, sign=True) == "-1.2 [-3.0, +0.4]"
    assert statistics.show(Interval(-0.001, -0.2, 0.0), sign=True) == "0.00 [-0.20, 0.00]"
    assert statistics.verdict(Interval(-0.2, -0.3, 0.0)) == "no difference shown"
    assert statistics.verdict(Interval(-0.2, -0.3, -0.1)) == "lower"
