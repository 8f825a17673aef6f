"""Groups: all images with the same value of an attribute, such as one device, and how networks do on each of them.

A scenario's `groups` names these attributes. The word does not mean a patient here: the column `group` of a data set's
table names patients, for the split alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data import labels, own_csv
from pipeline.data.prepared import EXTERNAL, Prepared
from pipeline.errors import ConfigError, naming_damage
from pipeline.evaluation import predictions
from pipeline.evaluation.predictions import GROUP
from pipeline.evaluation.score_files import Scores
from pipeline.evaluation.statistics import Interval, lowest_share

FEW = 10  # images; as in pipeline/training/metrics.py, a smaller group is no candidate for the lowest
MOST = 20  # values of an attribute whose values are groups
NONE = "(no value)"  # the group of the images whose cell is empty


@dataclass(frozen=True)
class Group:
    """One network on the images of one split that have the same value of an attribute.

    Attributes:
        value: The value.
        right: True where the predicted class is the true class, or all findings are right (n,).
        by_class: Of the images of each class or finding that occurs, True where it is predicted.
    """

    value: str
    right: NDArray[np.bool_]
    by_class: dict[str, NDArray[np.bool_]]


Groups = dict[str, dict[str, list[Group]]]  # attribute → split → groups; a split without the attribute is left out


@dataclass(frozen=True)
class Lowest:
    """The lowest share, 0..1, with its interval, and the value of its group; of a recall, the class too."""

    value: str
    label: str
    share: Interval


def marked(
    images: pd.DataFrame, attributes: Sequence[str], data: Prepared, external: Mapping[str, Prepared]
) -> pd.DataFrame:
    """Return the images with a column for each attribute, as in `report/predictions/<scenario>.csv`.

    Args:
        images: The columns image and split.
        attributes: The scenario's ``groups``.
        data: The scenario's data set.
        external: The external test sets by split; without an attribute, their images have no value of it.

    Raises:
        ConfigError: An attribute has too many values.
    """
    found = images.copy()
    for attribute in attributes:
        column = pd.Series("", images.index, dtype=object)
        for split, rows in images.groupby("split"):
            source = external.get(str(split), data)
            if attribute in source.attributes:
                values = source.index.set_index("id")[attribute]
                _check_count(source, attribute)
                column[rows.index] = values.loc[rows["image"]].fillna("").to_numpy()
            else:
                print(f"{str(split).removeprefix(EXTERNAL)} has no attribute {attribute!r}, and so no rows for groups")
        found[f"{GROUP}{attribute}"] = column
    return found


def _check_count(data: Prepared, attribute: str) -> None:
    if (count := data.index[attribute].nunique()) > MOST:
        raise ConfigError(
            f"`groups`: the attribute {attribute!r} of {data.folder.name!r} has {count} values, and at most {MOST} can "
            "be groups. Fix: add a column with ranges of it to the table, such as 40-59, and name that column"
        )


def read(path: Path, classes: Sequence[str], *, findings: bool) -> dict[str, Groups]:
    """Return the groups of each arm from `report/predictions/<scenario>.csv`; raises DamagedFileError."""
    with naming_damage(path):
        table = own_csv.read(own_csv.text_of(path))
        return {arm: _groups(table, arm, classes, findings=findings) for arm in predictions.arms(table)}


def lowest_accuracy(groups: Sequence[Group]) -> Lowest | None:
    """Return the lowest accuracy of the groups with at least ten images, if there are any."""
    return _lowest({(group.value, ""): group.right for group in groups})


def lowest_recall(groups: Sequence[Group]) -> Lowest | None:
    """Return the lowest recall of a class in a group, where the group has at least ten images of the class."""
    return _lowest({(g.value, label): right for g in groups for label, right in g.by_class.items()})


def scores(found: Groups) -> Scores:
    """Return the accuracies and recalls of one arm's groups with at least ten images, and the lowest of them."""
    readings: Scores = {}
    for attribute, by_split in found.items():
        for split, groups in by_split.items():
            name = f"{split}{BY}{attribute}"
            for group in groups:
                parts = {"accuracy": group.right} | {f"recall_{c}": right for c, right in group.by_class.items()}
                readings |= {
                    f"{name}-{group.value.replace(' ', '-')}_{part}": float(right.mean())
                    for part, right in parts.items()
                    if len(right) >= FEW
                }
            for part, one in (("accuracy", lowest_accuracy(groups)), ("recall", lowest_recall(groups))):
                readings |= {f"{name}_lowest_{part}": one.share.value} if one else {}
    return readings


BY = "_by_"  # in the name of a score, between split and attribute


def is_score(name: str, attributes: Sequence[str]) -> bool:
    """Return whether a score is about a group."""
    return any(f"{BY}{attribute}" in name for attribute in attributes)


def _groups(table: pd.DataFrame, arm: str, classes: Sequence[str], *, findings: bool) -> Groups:
    found: Groups = {}
    for attribute in predictions.attributes(table):
        for split, rows in table.groupby("split", sort=False):
            if (rows[f"{GROUP}{attribute}"] != "").any():
                by_value = rows.groupby(rows[f"{GROUP}{attribute}"].replace("", NONE))
                groups = [_group(str(value), some, arm, classes, findings=findings) for value, some in by_value]
                found.setdefault(attribute, {})[str(split)] = sorted(groups, key=lambda group: group.value == NONE)
    return found


def _group(value: str, rows: pd.DataFrame, arm: str, classes: Sequence[str], *, findings: bool) -> Group:
    right = (rows[f"{arm}.prediction"] == rows["label"]).to_numpy(bool)
    there, predicted = (
        labels.members(rows[column], list(classes), findings=findings) for column in ("label", f"{arm}.prediction")
    )
    by_class = {c: predicted.loc[there[c], c].to_numpy(bool) for c in classes if there[c].any()}
    return Group(value, right, by_class)


def _lowest(candidates: Mapping[tuple[str, str], NDArray[np.bool_]]) -> Lowest | None:
    counted = {name: right for name, right in candidates.items() if len(right) >= FEW}
    if not counted:
        return None
    value, label = min(counted, key=lambda name: counted[name].mean())
    return Lowest(value, label, lowest_share(list(counted.values())))
