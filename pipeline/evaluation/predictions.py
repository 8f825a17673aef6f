"""Predictions of each arm's final network on each held-out image: report/predictions/<scenario>.csv.

The columns are image (its id), split and label (the name of the true class), and `group.<attribute>` for each of the
scenario's `groups`, empty where an image has no value. Two more follow for each arm: `<arm>.prediction`, the name of
the predicted class, and `<arm>.probability` of the true class, to six digits.

With findings, label and prediction are texts as in `pipeline.data.labels`, and `<arm>.probability` is the geometric
mean of the probabilities of the true answers. A column `<finding>: <arm>` has the probability of each finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data import labels, own_csv
from pipeline.errors import naming_damage

if TYPE_CHECKING:  # `compare` reads predictions without torch
    from torch import Tensor

    from pipeline.data.loading import Images


GROUP = "group."  # before the name of an attribute


@dataclass(frozen=True)
class Outcomes:
    """One network on the N images of one split.

    Attributes:
        right: True where the predicted class is the true class (N,), or where all findings are right.
        loss: The cross-entropy (N,), nats; of findings, the mean of their binary cross-entropies.
        findings: By finding, where it is there and where it is predicted, (N,) each; empty for classes.
    """

    right: NDArray[np.bool_]
    loss: NDArray[np.float64]
    findings: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = field(default_factory=dict)


ByArm = dict[str, dict[str, Outcomes]]  # arm → split → outcomes; a split has the same images in every arm


def images(splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """Return the columns image, split and label, a row for each image of every split except train."""
    rows = [
        (image_id, split, labels.text(label, classes))
        for split, some in splits.items()
        if split != "train"
        for image_id, label in zip(some.ids, some.labels, strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "split", "label"])


def columns(logits: dict[str, Tensor], *, arm: str, splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """Return the columns of an arm, in the order of the rows of `images`.

    Args:
        logits: The network's logits (N, C) on every split except train.
        arm: The arm's name.
        splits: The scenario's images by split.
        classes: The names of the classes.
    """
    from pipeline.models import tasks  # here, because `compare` reads predictions without torch

    predicted, probabilities, each = list[str](), list[float](), list[list[float]]()
    for split, z in logits.items():
        task = tasks.of(splits[split].labels)
        predicted += [labels.text(one, classes) for one in task.predicted(z)]
        probabilities += task.likelihood(z, splits[split].labels).tolist()
        each += task.probabilities(z.double()).tolist() if task.findings else []
    found = pd.DataFrame({f"{arm}.prediction": predicted, f"{arm}.probability": probabilities})
    return found.join(pd.DataFrame(each, columns=[f"{name}: {arm}" for name in classes])) if each else found


def write(path: Path, images: pd.DataFrame, columns: list[pd.DataFrame]) -> None:
    """Write the images and the columns of all arms as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own_csv.write(path, pd.concat([images, *columns], axis=1), float_format="%.6g")


def read(path: Path) -> ByArm:
    """Return the outcomes of each arm and split; raises DamagedFileError if the file is missing or damaged."""
    with naming_damage(path):
        table = own_csv.read(own_csv.text_of(path))
        return {
            arm: {str(split): _outcomes(rows, arm) for split, rows in table.groupby("split", sort=False)}
            for arm in arms(table)
        }


def arms(table: pd.DataFrame) -> list[str]:
    """Return the arms with predictions in a table."""
    others = table.columns[~table.columns.str.startswith(GROUP)]
    return [str(column).removesuffix(".prediction") for column in others if str(column).endswith(".prediction")]


def attributes(table: pd.DataFrame) -> list[str]:
    """Return the attributes whose values a table has."""
    return [str(column).removeprefix(GROUP) for column in table.columns if str(column).startswith(GROUP)]


def _outcomes(rows: pd.DataFrame, arm: str) -> Outcomes:
    probability = rows[f"{arm}.probability"].to_numpy(float).clip(np.finfo(float).tiny)
    right = rows[f"{arm}.prediction"] == rows["label"]
    names = [column.removesuffix(f": {arm}") for column in rows if column.endswith(f": {arm}")]
    texts = (rows["label"], rows[f"{arm}.prediction"])
    there, predicted = (labels.members(text, names, findings=True).to_numpy() for text in texts)
    findings = {name: (there[:, n], predicted[:, n]) for n, name in enumerate(names)}
    return Outcomes(right.to_numpy(bool), -np.log(probability), findings)
