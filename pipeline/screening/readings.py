"""A reading: one value of each image, of a few; numbers are cut into ranges, so that no trend is presumed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEW = 10  # images; values of fewer are pooled and never shown, since they could tell a patient
RANGES = 10  # of a number, at most, with equally many images
PER_RANGE = 30  # images, at least
RARE = "(rare values)"
NONE = "no training image has a value"
SAME = "all training images have the same value"


@dataclass(frozen=True)
class Reading:
    """One value of each image.

    Attributes:
        name: The attribute, or the property of the picture.
        look: The question that it raises for experts.
        how: How it was read, for people.
        codes: The number of each image's value (N,), -1 where there is none.
        values: The names of the values.
    """

    name: str
    look: str
    how: str
    codes: NDArray[np.int64]
    values: list[str]


def of_numbers(name: str, numbers: NDArray[np.float64], look: str) -> Reading | str:
    """Return the reading of a number of each image (N,), NaN where there is none, or the reason why it is none."""
    known = np.isfinite(numbers)
    if len(np.unique(numbers[known])) < 2:
        return SAME
    count = int(np.clip(known.sum() // PER_RANGE, 2, RANGES))
    shares = np.linspace(0, 1, count + 1)[1:-1]
    cuts = np.unique(np.quantile(numbers[known], shares, method="inverted_cdf"))  # numbers of images, not between them
    cuts = cuts[cuts > numbers[known].min()]  # a range below the smallest number would be empty
    if not len(cuts):
        return "nearly all training images have the same value"
    shown = [_rounded(cut) for cut in cuts]
    names = [f"less than {shown[0]}", *(f"{a} to {b}" for a, b in pairwise(shown)), f"{shown[-1]} or more"]
    codes = np.where(known, np.searchsorted(cuts, numbers, side="right"), -1)
    how = f"numbers, in {len(names)} ranges{_missing(~known)}"
    return Reading(name, look, how, codes, names)


def _rounded(cut: float) -> str:
    """Return a number with three digits, and years with four; it is the number of some image, and may be an id."""
    return f"{cut:.3g}" if abs(cut) < 1000 else f"{float(f'{cut:.4g}' if abs(cut) < 10_000 else f'{cut:.3g}'):.0f}"


def of_words(name: str, words: pd.Series, look: str) -> Reading | str:
    """Return the reading of a word of each image, None where there is none, or the reason why it is none."""
    counts = words.value_counts()
    if len(counts) < 2:
        return SAME if len(counts) else NONE
    rare = counts.index[counts < FEW]
    pooled = words.where(~words.isin(rare), RARE)
    if (pooled[words.notna()] == RARE).mean() > 0.5:
        return f"most images have a value that fewer than {FEW} images have: an id, a date, or free text"
    values = sorted(counts.index[counts >= FEW])
    if len(values) < 2:
        return f"only one value has at least {FEW} training images"
    how = f"{len(values)} values" + (f", and {len(rare)} rare ones together" if len(rare) else "")
    values += [RARE] if len(rare) else []
    codes = pooled.map({value: n for n, value in enumerate(values)}).fillna(-1).to_numpy(np.int64)
    return Reading(name, look, how + _missing(words.isna()), codes, values)


def _missing(none: NDArray[np.bool_] | pd.Series) -> str:
    return f"; {int(none.sum())} images without a value are left out" if none.any() else ""
