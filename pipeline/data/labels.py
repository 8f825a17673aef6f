"""Labels: the class of an image, or its findings, of which each is there or not.

In our own tables, the label of an image with findings is their names in the data set's order: "mass|nodule". It is
empty if the image has none of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.datasets import BETWEEN


def joined(found: Collection[str | None], findings: list[str]) -> str:
    """Return the label of an image with these findings."""
    return BETWEEN.join(name for name in findings if name in found)


def named(label: str) -> list[str]:
    """Return the findings that a label names."""
    return label.split(BETWEEN) if label else []


def names(labels: pd.Series, *, findings: bool) -> set[str]:
    """Return the classes or findings that occur."""
    given = set(labels)
    return {name for label in given for name in named(label)} if findings else given


def members(labels: pd.Series, classes: list[str], *, findings: bool) -> pd.DataFrame:
    """Return whether each image has each class or finding: a column a class."""
    each = labels.map(named if findings else lambda label: [label])
    return pd.DataFrame([[c in names for c in classes] for names in each], labels.index, classes, bool)


def numbers(labels: pd.Series, classes: list[str], *, findings: bool) -> NDArray[np.int64]:
    """Return labels as training reads them: class numbers (N,), or 0 and 1 for each finding (N, k)."""
    if findings:
        return members(labels, classes, findings=True).to_numpy(np.int64)
    return np.array([classes.index(label) for label in labels], np.int64)


def text(number: Any, classes: list[str]) -> str:
    """Return the label of one image, an element of ``numbers`` or of a tensor of such, as text."""
    if number.ndim == 0:
        return classes[int(number)]
    return joined([name for name, there in zip(classes, number.tolist(), strict=True) if there], classes)


def strata(labels: pd.Series, *, findings: bool) -> pd.Series:
    """Return the stratum of each image, for a stratified choice: its class, or its rarest finding, or "" without any.

    Combinations of findings would be strata too, but most of them have too few images.
    """
    if not findings:
        return labels
    each = labels.map(named)
    counts = each.explode().value_counts()
    return each.map(lambda names: min(names, key=lambda name: (counts[name], name), default=""))


def kinds(has: pd.DataFrame, *, findings: bool) -> dict[str, pd.Series]:
    """Return the images of each kind that every split needs, by words; ``has`` is the result of ``members``."""
    if not findings:
        return {f"of class {name}": has[name] for name in has}
    there = {f"with the finding {name}": has[name] for name in has}
    return there | {f"without the finding {name}": ~has[name] for name in has}
