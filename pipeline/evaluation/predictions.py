"""Predictions of each arm's final network on each held-out image: report/predictions/<scenario>.csv.

The columns are image (its id), split and label (the name of the true class), and `group.<attribute>` for each of the
scenario's `groups`, empty where an image has no value. Two more follow for each arm: `<arm>.prediction`, the name of
the predicted class, and `<arm>.probability` of the true class, to six digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data import own_csv
from pipeline.errors import naming_damage

if TYPE_CHECKING:  # `compare` reads predictions without torch
    from torch import Tensor

    from pipeline.data.loading import Images


GROUP = "group."  # before the name of an attribute


@dataclass(frozen=True)
class Outcomes:
    """One network on the N images of one split.

    Attributes:
        right: True where the predicted class is the true class (N,).
        loss: The cross-entropy (N,), nats.
    """

    right: NDArray[np.bool_]
    loss: NDArray[np.float64]


ByArm = dict[str, dict[str, Outcomes]]  # arm → split → outcomes; a split has the same images in every arm


def images(splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """Return the columns image, split and label, a row for each image of every split except train."""
    rows = [
        (image_id, split, classes[int(label)])
        for split, some in splits.items()
        if split != "train"
        for image_id, label in zip(some.ids, some.labels, strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "split", "label"])


def columns(logits: dict[str, Tensor], *, arm: str, splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """Return the two columns of an arm, in the order of the rows of `images`.

    Args:
        logits: The network's logits (N, C) on every split except train.
        arm: The arm's name.
        splits: The scenario's images by split.
        classes: The names of the classes.
    """
    predicted, probabilities = [], []
    for split, z in logits.items():
        predicted += [classes[int(c)] for c in z.argmax(dim=1)]
        probabilities += z.double().softmax(dim=1)[range(len(z)), splits[split].labels].tolist()
    return pd.DataFrame({f"{arm}.prediction": predicted, f"{arm}.probability": probabilities})


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
    return Outcomes(right.to_numpy(bool), -np.log(probability))
