"""Intervals over seeds and over test images, and tests on paired predictions.

Seeds and images answer different questions. An interval over seeds is about training once more. An interval over
images is about other images for the same networks. All resampling starts from a fixed seed, so that the same
numbers give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
OF_SEEDS = 10_000  # resamples over seeds: the expanded percentiles lie far out
OF_IMAGES = 2_000  # resamples over images
AT_ONCE = 10**7  # numbers drawn at a time, so that a large test split fits into memory


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval, which is infinite for a single reading."""

    value: float
    low: float
    high: float

    def includes_zero(self) -> bool:
        """Return True if the interval of a difference includes zero."""
        return self.low <= 0 <= self.high


def mean_over_seeds(values: ArrayLike) -> Interval:
    """Mean of (n,) readings, one a seed, with an expanded percentile bootstrap interval.

    Source: Hesterberg 2015, *What Teachers Should Know About the Bootstrap*, https://arxiv.org/abs/1411.5279,
    section 5.3. Plain percentile intervals are too narrow for few values. The percentiles are therefore moved
    outwards until the interval is, for normal readings, as wide as Student's t interval. The interval never exceeds
    the range of the readings, so that it is still too narrow for fewer than 5 seeds. One reading has an infinite
    interval.
    """
    from scipy import special, stats

    readings = np.asarray(values, float)
    n = len(readings)
    if n == 1:
        return Interval(float(readings[0]), -math.inf, math.inf)
    tail = special.ndtr(math.sqrt(n / (n - 1)) * stats.t.ppf((1 - LEVEL) / 2, n - 1))
    return _bootstrap(readings, level=1 - 2 * tail, resamples=OF_SEEDS)


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Mean of the differences ours - theirs, both (n,) and paired by seed, with the interval of `mean_over_seeds`."""
    return mean_over_seeds(np.subtract(ours, theirs, dtype=float))


def deviation(values: ArrayLike) -> float | None:
    """Standard deviation over seeds of (n,) readings, with n - 1; None for a single reading."""
    readings = np.asarray(values, float)
    return float(readings.std(ddof=1)) if len(readings) > 1 else None


def mean_over_images(values: ArrayLike) -> Interval:
    """Mean of (N,) numbers, one a test image, with a percentile bootstrap interval.

    The numbers are losses, or differences of two networks on the same images. The interval is about other images,
    not about other seeds: the network of another seed may well lie outside it. Source: Efron and Tibshirani 1993,
    *An Introduction to the Bootstrap*, section 13.3.
    """
    return _bootstrap(np.asarray(values, float), level=LEVEL, resamples=OF_IMAGES)


def share_of_images(right: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Share, 0..1, of the (N,) test images that are right, with Wilson's score interval.

    Source: Brown, Cai and DasGupta 2001, *Interval Estimation for a Binomial Proportion*,
    https://doi.org/10.1214/ss/1009213286. Unlike a bootstrap interval, it has a width even if every image is right.
    """
    from scipy import stats

    outcomes = np.asarray(right, bool)
    found = stats.binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(level, method="wilson")
    return Interval(float(outcomes.mean()), float(found.low), float(found.high))


def lowest_share(groups: Sequence[ArrayLike]) -> Interval:
    """Lowest share, 0..1, of k groups of images (n,) that are right, with an interval for the lowest true share.

    The lowest of several estimates is too low on average, and the own interval of the group that happens to be lowest
    does not know of the other groups. So every group gets Wilson's interval at the level 1 - 0.05 / k (Bonferroni). In
    at least 95% of the cases, all of them hold their true shares. The lowest true share then lies between the lowest of
    their lower ends and the lowest of their upper ends.
    """
    found = [share_of_images(right, level=1 - (1 - LEVEL) / len(groups)) for right in groups]
    return Interval(*(min(getattr(one, name) for one in found) for name in ("value", "low", "high")))


def mcnemar(ours_right: ArrayLike, theirs_right: ArrayLike) -> float:
    """Exact two-sided p of McNemar's test that two classifiers err equally often.

    Both arguments are (N,) booleans on the same images. Only images on which the classifiers differ count; without
    such images p is 1. Source: McNemar 1947, https://doi.org/10.1007/BF02295996, in the exact binomial form.
    """
    from scipy import stats

    ours, theirs = np.asarray(ours_right, bool), np.asarray(theirs_right, bool)
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(stats.binomtest(only_ours, only_ours + only_theirs).pvalue)


def show(found: Interval, *, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """Return a value with its interval, as in `0.52 [0.47, 0.58]`; a value with an infinite interval stands alone.

    Args:
        found: The value and its interval.
        scale: The factor for all three numbers, 100 for percent.
        digits: Digits after the point.
        sign: Whether positive numbers have a plus sign.
    """

    def number(value: float) -> str:
        text = f"{scale * value:{'+' if sign else ''}.{digits}f}"
        return text if float(text) else f"{0:.{digits}f}"  # neither -0.00 nor +0.00

    if not math.isfinite(found.high - found.low):
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def verdict(difference: Interval) -> str:
    """Return `higher`, `lower`, or `no difference shown` if the interval includes zero."""
    if difference.includes_zero():
        return "no difference shown"
    return "higher" if difference.value > 0 else "lower"


def _bootstrap(values: NDArray[np.float64], *, level: float, resamples: int) -> Interval:
    """Mean of values with the percentile bootstrap interval of that level."""
    from scipy import stats

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
