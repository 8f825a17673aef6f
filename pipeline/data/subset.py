"""The images of a scenario: all of every split but train, and a fraction of train.

``subset.csv`` has the columns id, label, split, in the prepared data set's order, below a comment
line with that data set's digest: later stages depend on this file alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.data.loading import Images, Rows
from pipeline.data.prepared import Prepared
from pipeline.errors import ConfigError

HEADER = "# prepared data: "


def choose(prepared: Prepared, fraction: float, seed: int) -> pd.DataFrame:
    """Stratified by class and nested: a larger fraction of the same seed contains the smaller one.

    Raises ConfigError when a class would be left empty.
    """
    rng = np.random.default_rng(seed)
    index = prepared.index
    kept = index["split"] != "train"
    for label in prepared.classes:
        members = index.index[(index["split"] == "train") & (index["label"] == label)]
        count = round(fraction * len(members))
        if count == 0:
            raise ConfigError(
                f"a fraction of {fraction} leaves no training image of class {label!r}, which has "
                f"{len(members)}; set `fraction` to at least {1 / len(members):.3g}"
            )
        kept.loc[rng.permutation(members.to_numpy())[:count]] = True
    return index.loc[kept, ["id", "label", "split"]]


def write(path: Path, chosen: pd.DataFrame, prepared: Prepared) -> None:
    """Write subset.csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{prepared.digest}\n{chosen.to_csv(index=False)}", encoding="utf-8")


def read(path: Path, prepared: Prepared) -> pd.DataFrame:
    """Read subset.csv; raises ConfigError if it was made from other prepared data."""
    try:
        text = path.read_text(encoding="utf-8")
        chosen = pd.read_csv(path, comment="#", dtype=str)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path} ({error}); run `dvc repro` to write it again") from error
    if not text.startswith(f"{HEADER}{prepared.digest}\n"):
        raise ConfigError(f"{path} was chosen from other data than {prepared.folder} now holds; run `dvc repro`")
    return chosen


def images(prepared: Prepared, chosen: pd.DataFrame, split: str) -> Images:
    """The chosen images of one split."""
    ids = chosen.loc[chosen["split"] == split, "id"]
    found = prepared.index.set_index("id").loc[ids]
    labels = [prepared.classes.index(label) for label in found["label"]]
    return Images(ids.tolist(), Rows(prepared.images, found["row"].to_numpy()), torch.tensor(labels))


def by_split(prepared: Prepared, chosen: pd.DataFrame) -> dict[str, Images]:
    """The chosen images of every split."""
    return {split: images(prepared, chosen, split) for split in chosen["split"].unique()}
