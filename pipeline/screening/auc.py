"""The AUC of one reading of each image, cross-validated, with its interval, and a test of all readings together.

scikit-learn and scipy would do parts of it, but their import takes longer than the whole screening of a small data set.
A test compares the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.statistics import LEVEL, Interval

FOLDS = 5
SHUFFLES = 200  # of the labels: the largest of all readings needs its 95th percentile only
AT_ONCE = 4_000_000  # shuffled labels, or pairs of values, that are counted at a time
TWO_SIDED = 1.96  # standard errors on each side of a 95% interval

Numbers = NDArray[np.integer]  # (N,)


@dataclass(frozen=True)
class Auc:
    """An AUC, 0..1, of one reading.

    Attributes:
        value: The AUC.
        error: Its standard error, for a reading with a signal.
        by_chance: The AUC for each shuffle of the labels.
    """

    value: float
    error: float
    by_chance: NDArray[np.float64]

    def interval(self, *, predicts: bool) -> Interval:
        """Return the 95% interval.

        Without a signal, the folds depend on each other: each has learned the others' chance. The deviation over the
        shuffles knows of that, and the standard error does not.
        """
        reach = TWO_SIDED * (self.error if predicts else max(self.error, float(self.by_chance.std())))
        return Interval(self.value, max(0.0, self.value - reach), min(1.0, self.value + reach))


def predicting(found: Sequence[Auc]) -> list[bool]:
    """Return which readings predict the class, so that chance names any of them in 5% of the data sets at most.

    A reading counts if it is further above its mean by chance, in its own standard deviations, than the best of all
    readings is for 95% of the shuffles: Westfall and Young 1993, *Resampling-Based Multiple Testing*.
    """
    if not found:
        return []
    chance = np.stack([one.by_chance for one in found])
    mean, deviation = chance.mean(axis=1), chance.std(axis=1)
    deviation[deviation == 0] = np.inf
    best = ((chance - mean[:, None]) / deviation[:, None]).max(axis=0)
    limit = np.quantile(best, LEVEL, method="higher")
    return [bool(above > limit) for above in ([one.value for one in found] - mean) / deviation]


def folds(labels: Numbers, patients: Numbers) -> Numbers:
    """Return the fold of each image, 0 to 4: patients stay whole, and each fold has about the same classes.

    The patients are sorted by the rarest class among their images, at random within a class, and dealt out in turn.
    """
    rarity = np.bincount(labels)[labels]
    rarest = np.full(patients.max() + 1, np.inf)
    np.minimum.at(rarest, patients, rarity + labels / (labels.max() + 1))  # classes of one size stay apart
    order = np.lexsort((np.random.default_rng(0).permutation(len(rarest)), rarest))
    fold = np.empty(len(rarest), int)
    fold[order] = np.arange(len(order)) % FOLDS
    return fold[patients]


def shuffled(labels: Numbers, patients: Numbers) -> NDArray[np.int16]:
    """Return labels by chance (SHUFFLES, N): each patient has another's, in another order, repeated or cut off."""
    rng = np.random.default_rng(0)
    ordered = labels[np.argsort(patients, kind="stable")].astype(np.int16)
    sizes = np.bincount(patients)
    starts = np.cumsum(sizes) - sizes
    numbers = np.arange(len(labels)) - np.repeat(starts, sizes)  # of the images of each patient
    found = np.empty((SHUFFLES, len(labels)), np.int16)
    for row in found:
        order = np.lexsort((rng.random(len(labels)), patients))
        other = rng.permutation(len(sizes))[patients[order]]
        row[order] = ordered[starts[other] + numbers % sizes[other]]
    return found


def cross_validated(
    codes: Numbers, labels: Numbers, *, classes: Numbers, patients: Numbers, shuffles: NDArray[np.int16]
) -> Auc:
    """Return how well a reading predicts the class of other patients' images.

    The score of an image is the share of the class among the other folds' images with the same value. Each fold has its
    own AUC, since scores of different folds are not comparable. The result is the mean over folds and classes, each
    class against the rest.

    Its error sums the influence of each image by patient: LeDell, Petersen and van der Laan 2015, *Computationally
    efficient confidence intervals for cross-validated AUC estimates*, https://doi.org/10.1214/15-EJS1035. Within a
    fold, it is DeLong's.

    Args:
        codes: The number of each image's value.
        labels: The number of each image's class.
        classes: The classes whose AUC counts.
        patients: The number of each image's patient.
        shuffles: Labels by chance (SHUFFLES, N).
    """
    fold = folds(labels, patients)
    if labels.max() == 1:
        classes = np.array([1])  # of two classes, both have the same AUC
    counting = _Counting(codes, fold, values=int(codes.max()) + 1, classes=int(max(labels.max(), shuffles.max())) + 1)
    counts = counting.counts(labels[None])
    value = float(_mean(_by_fold(counts, classes)[0])[0])
    step = max(1, AT_ONCE // max(len(labels), counts.size * counting.values))
    some = (counting.counts(shuffles[start : start + step]) for start in range(0, len(shuffles), step))
    by_chance = np.concatenate([_mean(_by_fold(one, classes)[0]) for one in some])
    influence = _influence(counts, classes, codes=codes, labels=labels, fold=fold)
    of_patients = np.bincount(patients, weights=influence)
    count = len(np.unique(patients))
    error = np.sqrt((of_patients**2).sum() * count / (count - 1))
    return Auc(value, float(error), by_chance)


@dataclass(frozen=True)
class _Counting:
    """The images of each fold and value, which are counted by class."""

    codes: Numbers
    fold: Numbers
    values: int
    classes: int

    def counts(self, labels: Numbers) -> NDArray[np.float64]:
        """Return the numbers of images (P, folds, values, classes) for labels (P, N)."""
        shape = (len(labels), FOLDS, self.values, self.classes)
        cell = (np.arange(len(labels))[:, None] * FOLDS + self.fold) * self.values + self.codes
        flat = (cell * self.classes + labels).ravel()
        return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(float)


Cells = NDArray[np.float64]


def _by_fold(counts: Cells, classes: Numbers) -> tuple[Cells, Cells, Cells]:
    """Return AUCs (P, folds, C), and placements (P, folds, C, values) of the class's images and of the others.

    A placement is the share of the other kind's images with a lower score, and of the class's with a higher score.
    """
    others = counts.sum(axis=1, keepdims=True) - counts
    total = others.sum(axis=3)
    prior = others.sum(axis=2) / others.sum(axis=(2, 3))[..., None]
    score = (others + prior[:, :, None]) / (total[..., None] + 1)  # one more image, with the mean shares
    score = np.moveaxis(score[..., classes], 3, 2)
    inside = np.moveaxis(counts[..., classes], 3, 2)
    outside = counts.sum(axis=3)[:, :, None] - inside
    above = (score[..., :, None] > score[..., None, :]) + 0.5 * (score[..., :, None] == score[..., None, :])
    with np.errstate(invalid="ignore"):  # a fold without the class has no AUC
        of_class = np.einsum("pfckl,pfcl->pfck", above, outside) / outside.sum(axis=3, keepdims=True)
        of_others = np.einsum("pfckl,pfck->pfcl", above, inside) / inside.sum(axis=3, keepdims=True)
        auc = (of_class * inside).sum(axis=3) / inside.sum(axis=3)
    return auc, of_class, of_others


def _mean(auc: Cells) -> Cells:
    """Return the mean (P,) over classes of the means over folds, without folds that lack a class."""
    known = np.isfinite(auc)
    by_class = np.where(known, auc, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    found: Cells = np.where(known.any(axis=1), by_class, 0.5).mean(axis=1)
    return found


def _influence(counts: Cells, classes: Numbers, *, codes: Numbers, labels: Numbers, fold: Numbers) -> Cells:
    """Return the influence (N,) of each image on the mean AUC."""
    (auc,), (of_class,), (of_others,) = _by_fold(counts, classes)
    influence = np.zeros(len(labels))
    sizes = counts[0].sum(axis=1)  # (folds, classes)
    for place, label in enumerate(classes):
        usable = np.isfinite(auc[:, place])
        has = labels == label
        placement = np.where(has, of_class[fold, place, codes], of_others[fold, place, codes])
        count = np.where(has, sizes[fold, label], sizes[fold].sum(axis=1) - sizes[fold, label])
        share = (placement - auc[fold, place]) / np.maximum(count, 1) / max(usable.sum(), 1)
        influence += np.where(usable[fold], share, 0)
    return influence / len(classes)
