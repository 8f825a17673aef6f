"""Splits: every image gets one, and patients and copies of an image never straddle two splits.

Official splits are kept. Without official splits, a seeded and stratified share is held out and halved into val and
test. A group (a patient, a lesion) and all copies of an image stay together.
"""

from __future__ import annotations

import itertools
import re
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd

from pipeline.choices import Duplicates, assert_known
from pipeline.data.prepared import SPLITS, copies, in_order, is_split
from pipeline.errors import DataError, listed

WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
WORDS |= {"test": "test", "testing": "test"}
SET = re.compile(r"-?(set|data|dataset|images|split)$")  # "training_set" is "training"
FOLDS = 20  # at most, unless a smaller share is held out
NOTABLE = 0.05  # difference of the share that is held out from the wanted share
KEPT_FIRST = ("test", "val", "train")  # of copies in several splits, the test image stays


def named(text: str) -> str | None:
    """Return the split that a table or a folder means by a word, in any case; None if it is no word for a split.

    Further held-out splits keep their names, which begin with ``val-`` or ``test-``: ``test-site-b``.
    """
    word = text.strip().lower().replace("_", "-").replace(" ", "-")
    return WORDS.get(SET.sub("", word)) or (word if is_split(word) else None)


def settle(
    table: pd.DataFrame, strata: pd.Series, *, held_out: float, seed: int, duplicates: Duplicates
) -> pd.DataFrame:
    """Settle the split of every image.

    Args:
        table: The columns name, split (None in all rows: no official splits), group (or None), and digest of
            the image.
        strata: The stratum of each row, for a table without official splits.
        held_out: The share of val and test together, without official splits.
        seed: It determines the split, without official splits.
        duplicates: Copies of an image in several official splits are an error; ``drop`` keeps the copy in test, or
            else in val.

    Returns:
        The table with a split in every row; ``drop`` removes rows.

    Raises:
        ValueError: The word for duplicates is unknown.
        DataError: Some rows have a split and others have none; a group or copies of an image straddle official
            splits; there are too few images to split.
    """
    assert_known(duplicates, Duplicates, "treatment of duplicates")
    without = table["split"].isna()
    if without.any() and not without.all():
        raise DataError(
            f"{int(without.sum())} of {len(table)} images have no split, the others have one. Fix: give a split to "
            f"all images or to none:\n{listed(table.loc[without, 'name'])}"
        )
    if without.all():
        return table.assign(split=_drawn(table, strata, held_out, seed))
    for split in (name for name in in_order(table["split"]) if name not in SPLITS):
        count = int((table["split"] == split).sum())
        print(f"split {split}: {count} images, which are only evaluated", flush=True)
    _check_groups(table)
    straddling = [rows for rows in copies(table) if rows["split"].nunique() > 1]
    if straddling and duplicates == "error":
        found = [", ".join(f"{n} ({s})" for n, s in zip(r["name"], r["split"], strict=True)) for r in straddling]
        raise DataError(
            f"{len(found)} images are in more than one split, which makes a test too easy. Fix: remove copies, or set "
            f"`duplicates: drop` in params.yaml to keep only the tested copy:\n{listed(found)}"
        )
    for rows in straddling:
        rank = rows["split"].map(lambda split: KEPT_FIRST.index(split.split("-")[0]))
        table = table.drop(index=rows.index[rank > rank.min()])
    return table


def _drawn(table: pd.DataFrame, strata: pd.Series, held_out: float, seed: int) -> pd.Series:
    together = _together(table)
    split = pd.Series("train", index=table.index)
    held = _part(strata, together, share=held_out, seed=seed)
    test = _part(strata[held], together[held], share=0.5, seed=seed)
    split[held] = np.where(test, "test", "val")
    if abs(held.mean() - held_out) > NOTABLE:
        print(f"warning: {held.mean():.0%} of the images are held out, not {held_out:.0%}, to keep groups whole")
    return split


def _part(strata: pd.Series, groups: pd.Series, *, share: float, seed: int) -> pd.Series:
    """Return a stratified part of the rows as a bool column; groups stay whole.

    The rows are split into equal folds, and some folds are taken: of 0.4, two folds of five.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # here, because importing scikit-learn takes seconds

    count = groups.nunique()
    wanted = Fraction(share).limit_denominator(max(FOLDS, round(1 / share)))
    if wanted.numerator > 1 and count < wanted.denominator:
        wanted = Fraction(share).limit_denominator(count) or Fraction(1, round(1 / share))
    if count < wanted.denominator:
        raise DataError(
            f"{count} independent images are too few to be split in {wanted.denominator}. Fix: add images, or set "
            "each image's split in the table."
        )
    chosen = pd.Series(False, index=strata.index)
    splitter = StratifiedGroupKFold(wanted.denominator, shuffle=True, random_state=seed)
    folds = splitter.split(np.zeros(len(strata)), strata, groups)
    with warnings.catch_warnings():
        # Of a class with fewer images than folds; where that leaves a split without it, `write_index` names both.
        warnings.simplefilter("ignore", UserWarning)
        for _, members in itertools.islice(folds, wanted.numerator):
            chosen.iloc[members] = True
    return chosen


def _together(table: pd.DataFrame) -> pd.Series:
    """Return a number for each row; equal for rows that a group or an image ties together, however indirectly."""
    from scipy.sparse import coo_array  # here, because importing scipy takes a second
    from scipy.sparse.csgraph import connected_components

    pictures, _ = pd.factorize(table["digest"])
    groups, names = pd.factorize(table["group"])  # -1 without a group
    count, tied = len(table), groups >= 0
    ends = np.concatenate([count + pictures, (count + pictures.max() + 1 + groups)[tied]])
    starts = np.concatenate([np.arange(count), np.arange(count)[tied]])
    nodes = count + pictures.max() + 1 + len(names)
    _, parts = connected_components(coo_array((np.ones(len(starts)), (starts, ends)), (nodes, nodes)), directed=False)
    return pd.Series(parts[:count], index=table.index)


def _check_groups(table: pd.DataFrame) -> None:
    first = table.dropna(subset="group").groupby(["group", "split"])["name"].first().groupby("group")
    straddling = [
        f"{group}: {', '.join(split for _, split in images.index)} (for example {', '.join(images)})"
        for group, images in first
        if len(images) > 1
    ]
    if straddling:
        raise DataError(
            f"{len(straddling)} groups have images in more than one split. Fix: move each group into one split:\n"
            f"{listed(straddling)}"
        )
