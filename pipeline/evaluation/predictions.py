"""What each arm's final network says of every image that is not trained on: report/predictions/<scenario>.csv.

The columns image (its id), split and label (a class's name), then two an arm: ``<arm>.prediction``, a class's name, and
``<arm>.probability``, that of the true class, to six digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.loading import Images
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Outcomes:
    """One network on the images of one split: (N,) whether it is right, and its loss (CE) in nats."""

    right: NDArray[np.bool_]
    loss: NDArray[np.float64]


ByArm = dict[str, dict[str, Outcomes]]  # arm → split → outcomes; a split has the same images in every arm


def images(splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """The images of every split but train, a row each: image, split, label."""
    rows = [
        (image_id, split, classes[int(label)])
        for split, some in splits.items()
        if split != "train"
        for image_id, label in zip(some.ids, some.labels, strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "split", "label"])


def of(read: dict[str, Tensor], arm: str, splits: dict[str, Images], classes: list[str]) -> pd.DataFrame:
    """An arm's two columns, in the rows of ``images``, from its logits (N, C) of every split but train."""
    predicted, probabilities = [], []
    for split, z in read.items():
        predicted += [classes[int(c)] for c in z.argmax(dim=1)]
        probabilities += z.double().softmax(dim=1)[range(len(z)), splits[split].labels].tolist()
    return pd.DataFrame({f"{arm}.prediction": predicted, f"{arm}.probability": probabilities})


def write(path: Path, table: pd.DataFrame) -> None:
    """Write the columns of ``images`` and of all arms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g")


def read(path: Path) -> ByArm:
    """What ``write`` wrote, as outcomes; raises ConfigError if it is missing or damaged."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called 01, or none
        arms = [column.removesuffix(".prediction") for column in table.columns if column.endswith(".prediction")]
        return {
            arm: {str(split): _outcomes(rows, arm) for split, rows in table.groupby("split", sort=False)}
            for arm in arms
        }
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"cannot read {path} ({error}); run `dvc repro` to write it again") from error


def _outcomes(rows: pd.DataFrame, arm: str) -> Outcomes:
    probability = rows[f"{arm}.probability"].to_numpy(float).clip(np.finfo(float).tiny)
    right = rows[f"{arm}.prediction"] == rows["label"]
    return Outcomes(right.to_numpy(bool), -np.log(probability))
