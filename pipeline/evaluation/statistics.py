"""How sure a number is: intervals over seeds and over test images, and tests on paired predictions.

Seeds and images answer different questions. Over seeds, an interval says what training again would give;
over the images of one seed, what other images would give to these same networks. Everything is
drawn from a fixed seed: the same numbers have the same interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import ndtr

LEVEL = 0.95
OF_SEEDS, OF_IMAGES = 10_000, 2_000  # resamples: moved outwards, the percentiles are far out
AT_ONCE = 10**7  # numbers drawn at a time: a large test split must fit into memory


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval, which is infinite where nothing can be said of it."""

    value: float
    low: float
    high: float

    def includes_zero(self) -> bool:
        """Whether a difference with this interval may be none at all."""
        return self.low <= 0 <= self.high


def mean_over_seeds(values: ArrayLike) -> Interval:
    """The mean of (n,) readings, one a seed, with an expanded percentile bootstrap interval.

    Plain bootstrap intervals promise too much for few values: with 5 from a normal (an exponential)
    distribution, a 95% interval holds the true mean in 84% (77%) of cases by percentiles, in 84% (78%) by BCa. So the
    percentiles are moved outwards until the interval is, in the normal case, as wide as Student's t makes it
    (Hesterberg 2015, https://arxiv.org/abs/1411.5279, section 5.3), which holds it in 92% (86%), and with
    10 values in 93% (90%). No resample's mean lies beyond the readings themselves, so with 3 values it is
    73% whatever is done, with 2 it is half: publish 5. One value has an infinite interval.
    """
    readings = np.asarray(values, float)
    n = len(readings)
    if n == 1:
        return Interval(float(readings[0]), -math.inf, math.inf)
    tail = ndtr(math.sqrt(n / (n - 1)) * stats.t.ppf((1 - LEVEL) / 2, n - 1))
    return _bootstrap(readings, 1 - 2 * tail, OF_SEEDS)


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """The mean of (n,) differences ours - theirs, paired by seed, as in ``mean_over_seeds``."""
    return mean_over_seeds(np.subtract(ours, theirs, dtype=float))


def deviation(values: ArrayLike) -> float | None:
    """The standard deviation over seeds of (n,) readings, with n - 1; None of a single one."""
    readings = np.asarray(values, float)
    return float(readings.std(ddof=1)) if len(readings) > 1 else None


def mean_over_images(values: ArrayLike) -> Interval:
    """The mean of (N,) numbers, one a test image, with a percentile bootstrap interval.

    The numbers are losses, or differences of two networks on the same images. This is the luck of the images, not of
    training: another seed's network may well lie outside.
    """
    return _bootstrap(np.asarray(values, float), LEVEL, OF_IMAGES)


def share_of_images(right: ArrayLike) -> Interval:
    """The share of (N,) test images that are right, 0..1, with Wilson's score interval.

    Where every image is right, a bootstrap would say that no image is ever wrong; this does not
    (Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286).
    """
    outcomes = np.asarray(right, bool)
    found = stats.binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(LEVEL, method="wilson")
    return Interval(float(outcomes.mean()), float(found.low), float(found.high))


def mcnemar(ours_right: ArrayLike, theirs_right: ArrayLike) -> float:
    """The exact two-sided p of McNemar's test that two classifiers err equally often.

    Both are (N,) booleans on the same images. Only images on which they differ tell something; where
    there are none, p is 1.
    """
    ours, theirs = np.asarray(ours_right, bool), np.asarray(theirs_right, bool)
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(stats.binomtest(only_ours, only_ours + only_theirs).pvalue)


def show(found: Interval, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """As in ``0.52 [0.47, 0.58]``; the value alone where its interval is infinite."""

    def number(value: float) -> str:
        text = f"{scale * value:{'+' if sign else ''}.{digits}f}"
        return text if float(text) else f"{0:.{digits}f}"  # neither -0.00 nor +0.00

    if not math.isfinite(found.high - found.low):
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def verdict(difference: Interval) -> str:
    """What a difference says: ``higher``, ``lower``, or that none was shown."""
    if difference.includes_zero():
        return "no difference shown"
    return "higher" if difference.value > 0 else "lower"


def _bootstrap(values: NDArray[np.float64], level: float, resamples: int) -> Interval:
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, AT_ONCE // len(values)),
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
