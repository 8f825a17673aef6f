"""The images of a scenario: a fraction of train, and all images of the other splits.

``subset.csv`` has the columns id, label and split, in the prepared data set's order. Its first line is a comment with
the prepared data set's digest, so that later stages depend on this file alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.data import labels, own_csv
from pipeline.data.prepared import Prepared
from pipeline.errors import ConfigError, DamagedFileError, naming_damage

if TYPE_CHECKING:
    from pipeline.data.loading import Images

HEADER = "# prepared data: "


def choose(prepared: Prepared, fraction: float, seed: int) -> pd.DataFrame:
    """Return the rows id, label and split of a scenario's images.

    The choice of training images is stratified by class, or by the rarest finding of an image, and nested: with the
    same seed, a larger fraction contains the smaller one. Raises ConfigError if a class would have no training image,
    or if no training image would be with, or without, a finding.
    """
    if "train" not in set(prepared.index["split"]):
        raise ConfigError(
            f"{prepared.folder} has no training images. Fix: name it as `external` in a scenario with another data set."
        )
    rng = np.random.default_rng(seed)
    index = prepared.index
    train = index[index["split"] == "train"]
    strata = labels.strata(train["label"], findings=prepared.findings)
    kept = index["split"] != "train"
    for stratum in [*prepared.classes, *([""] if prepared.findings else [])]:
        members = train.index[strata == stratum]
        kept.loc[rng.permutation(members.to_numpy())[: round(fraction * len(members))]] = True
    has = labels.members(train["label"], prepared.classes, findings=prepared.findings)
    for kind, members in labels.kinds(has, findings=prepared.findings).items():
        if not kept[train.index][members].any():
            raise ConfigError(
                f"`fraction` {fraction} leaves no training image {kind}, of which there are {members.sum()}. "
                f"Fix: set a larger `fraction`, at least {1 / members.sum():.3g}."
            )
    return index.loc[kept, ["id", "label", "split"]]


def write(path: Path, chosen: pd.DataFrame, prepared: Prepared) -> None:
    """Write subset.csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own_csv.write(path, chosen, comment=f"{HEADER}{prepared.digest}\n")


def read(path: Path, prepared: Prepared) -> pd.DataFrame:
    """Read subset.csv; raise DamagedFileError if it is missing, damaged, or chosen from other prepared data."""
    with naming_damage(path):
        text = own_csv.text_of(path)
        if not text.startswith(f"{HEADER}{prepared.digest}\n"):
            raise DamagedFileError(
                f"{path} was chosen from other data than {prepared.folder} now holds. Fix: run `dvc repro`."
            )
        chosen = own_csv.read(text.partition("\n")[2])[["id", "label", "split"]]
        if not set(chosen["id"]) <= set(prepared.index["id"]):
            raise ValueError("it names images that are not prepared")
    return chosen


def images(prepared: Prepared, chosen: pd.DataFrame, split: str) -> Images:
    """Return the chosen images of one split."""
    return whole(prepared, chosen[chosen["split"] == split])


def whole(prepared: Prepared, chosen: pd.DataFrame | None = None) -> Images:
    """Return the chosen images of all splits; without a choice, all images."""
    import torch  # here, because stages that only read subset.csv start faster without torch

    from pipeline.data.loading import Images, Rows

    ids = (prepared.index if chosen is None else chosen)["id"]
    found = prepared.index.set_index("id").loc[ids]
    numbers = labels.numbers(found["label"], prepared.classes, findings=prepared.findings)
    return Images(ids.tolist(), Rows(prepared.images, found["row"].to_numpy()), torch.tensor(numbers))


def by_split(prepared: Prepared, chosen: pd.DataFrame) -> dict[str, Images]:
    """Return the chosen images of every split."""
    return {split: images(prepared, chosen, split) for split in chosen["split"].unique()}
