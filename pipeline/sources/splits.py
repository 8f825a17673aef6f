"""Which split an image belongs to, and what must never be in two of them.

Official splits are kept. Where a source has none, a seeded and stratified share is held out and
halved into val and test. A group (a patient, a lesion) and all copies of a picture stay together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.data.prepared import copies
from pipeline.errors import ConfigError, listed

# Of copies in several splits, the one that is tested on stays.
KEPT_FIRST = ("test", "val", "train")


def settle(table: pd.DataFrame, held_out: float, seed: int, duplicates: Literal["error", "drop"]) -> pd.DataFrame:
    """The table with every row's split settled.

    ``table`` has the columns name, label, split (None where it is ours to choose), group (or None)
    and digest, of the picture. Copies of a picture in several official splits are an error or, with
    ``drop``, all but those of the most precious split are left out. Raises ConfigError that names
    the groups, or the copies, which straddle splits.
    """
    ours = table["split"].isna()
    if ours.any() and not ours.all():
        raise ConfigError(
            f"{int(ours.sum())} of {len(table)} images have no split, the others have one; name it for all or none:\n"
            f"{listed(table.loc[ours, 'name'])}"
        )
    if ours.all():
        return table.assign(split=_chosen(table, held_out, seed))
    _no_straddling(table)
    straddling = [rows for rows in copies(table) if rows["split"].nunique() > 1]
    if straddling and duplicates == "error":
        found = [", ".join(f"{n} ({s})" for n, s in zip(r["name"], r["split"], strict=True)) for r in straddling]
        raise ConfigError(
            f"{len(found)} pictures are in more than one split, which makes a test too easy; take copies out, or "
            f"set `duplicates: drop` to keep only the copy that is tested on:\n{listed(found)}"
        )
    for rows in straddling:
        rank = rows["split"].map(KEPT_FIRST.index)
        table = table.drop(index=rows.index[rank > rank.min()])
    return table


def _chosen(table: pd.DataFrame, held_out: float, seed: int) -> pd.Series:
    together = _together(table)
    split = pd.Series("train", index=table.index)
    held = _fold(table["label"], together, round(1 / held_out), seed)
    test = _fold(table["label"][held], together[held], 2, seed)
    split[held] = np.where(test, "test", "val")
    return split


def _fold(labels: pd.Series, groups: pd.Series, folds: int, seed: int) -> pd.Series:
    """One of ``folds`` stratified parts as a mask; whole groups only."""
    if groups.nunique() < folds:
        raise ConfigError(f"{groups.nunique()} independent images are too few to be split in {folds}")
    chosen = pd.Series(False, index=labels.index)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, members = next(splitter.split(np.zeros(len(labels)), labels, groups))
    chosen.iloc[members] = True
    return chosen


def _together(table: pd.DataFrame) -> pd.Series:
    """A number for each row; equal where a group or a picture ties rows together, however indirectly."""
    pictures, _ = pd.factorize(table["digest"])
    groups, names = pd.factorize(table["group"])  # -1 where there is none
    count, tied = len(table), groups >= 0
    ends = np.concatenate([count + pictures, (count + pictures.max() + 1 + groups)[tied]])
    starts = np.concatenate([np.arange(count), np.arange(count)[tied]])
    nodes = count + pictures.max() + 1 + len(names)
    _, parts = connected_components(coo_array((np.ones(len(starts)), (starts, ends)), (nodes, nodes)), directed=False)
    return pd.Series(parts[:count], index=table.index)


def _no_straddling(table: pd.DataFrame) -> None:
    grouped = table.dropna(subset="group").groupby("group")["split"].unique()
    straddling = [f"{group}: {', '.join(sorted(splits))}" for group, splits in grouped.items() if len(splits) > 1]
    if straddling:
        raise ConfigError(
            f"{len(straddling)} groups have images in more than one split; move each into one:\n{listed(straddling)}"
        )
