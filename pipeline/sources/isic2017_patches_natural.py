"""isic2017-patches-natural: ISIC 2017 with its own coloured patches, real ones, almost all beside benign lesions.

Training has most of the challenge's images with a patch: of these, 148 are benign and two are melanomas. So a patch
says "benign", and nothing is pasted. In val and test, no image has a patch. val-shifted and test-shifted show the same
images with a real patch on each, cut out of photographs that no other split has. A network that follows the shortcut
overlooks their melanomas. Rieger et al. 2020, *Interpretations are useful*, https://arxiv.org/abs/1909.13584, describe
the shortcut on ISIC 2019.

``root`` as for isic2017, with a table of artefacts, image_id and patches (0 or 1), and masks of the patches, one
``<image_id>.png`` each. The evidence is the lesion's mask; only images with one are trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import Isic2017, Isic2017PatchesNatural
from pipeline.data.prepared import Item
from pipeline.errors import DataError
from pipeline.sources import files, isic2017, originals, tables
from pipeline.sources.source import Area, Generated, Original, Originals, Pixels, shifted

SPLITS = ("train", "val", "test")
CLASSES = isic2017.CLASSES["melanoma"][1]
DONORS = 24  # photographs whose patches are cut out
TRAIN = {"benign": 60, "melanoma": 180}  # without a patch; with them, both classes are equally frequent
CHECKED = 60  # images of val, each class
TESTED = {"benign": 300, "melanoma": 300}  # at most
TRIED = 4  # patches for an image; the one that covers least of the lesion is set


@dataclass(frozen=True)
class Patch:
    """A real patch: the photograph that it is cut out of, and where it is."""

    picture: Pixels
    area: Area

    def on(self, picture: Pixels) -> Pixels:
        """Return a copy of a picture (S, S, 3) with the patch at its own place."""
        return np.where(self.area[..., None], self.picture, picture)


def read(settings: Isic2017PatchesNatural) -> Generated:
    """Return all images, each with its split. The data set is fixed: no seed changes it.

    Raises DataError as isic2017.read does, and where there are too few images with a patch, or without one.
    """
    root = Path(settings.root)
    source = isic2017.read(Isic2017(source="isic2017", root=settings.root, size=settings.size))
    path, known = isic2017.artefact(root, settings.artefacts, "patches")
    cut = tables.masks(files.inside(root, settings.patch_masks), pd.Series(list(known)))
    rows = [row for row in source.rows if row.name in known and row.name not in isic2017.COPIES]
    order = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))]
    donors = [replace(row, mask=cut[row.name]) for row in order if known[row.name] and row.name in cut][:DONORS]
    if len(donors) < DONORS:
        raise DataError(
            f"{path} has {len(donors)} images with a patch and a mask of it; {DONORS} are needed. Fix: use the whole "
            f"table, and all masks in {settings.patch_masks}"
        )
    taken = {donor.name for donor in donors}
    with_patch = [row for row in order if known[row.name] and row.name not in taken and row.mask is not None]
    kept = [replace(row, split="train") for row in with_patch]
    for label in CLASSES:
        kept += _with_splits(path, label, [row for row in order if row.label == label and not known[row.name]])
    count = len(kept) + sum(row.split != "train" for row in kept)
    return Generated(CLASSES, count, _items(replace(source, rows=kept), replace(source, rows=donors), settings.size))


def _with_splits(path: Path, label: str, rows: list[Original]) -> list[Original]:
    """Return some images of one class without a patch, each with its split, and with evidence in train and val."""
    known = [row for row in rows if row.mask is not None]
    wanted = TRAIN[label] + CHECKED
    if len(known) <= wanted:
        raise DataError(
            f"{path} has {len(known)} images with a lesion mask that are {label} without a patch; more than {wanted} "
            "are needed. Fix: use the whole table and all lesion masks."
        )
    used = {row.name for row in known[:wanted]}
    tested = [row for row in rows if row.name not in used][: TESTED[label]]
    train, val = known[: TRAIN[label]], known[TRAIN[label] : wanted]
    return [replace(row, split=split) for split, some in zip(SPLITS, (train, val, tested), strict=True) for row in some]


def _items(source: Originals, donors: Originals, size: int) -> Iterator[Item]:
    cut = originals.items(donors, size, "stretch")
    patches = [Patch(item.image, item.evidence) for item in cut if item.evidence is not None]
    rng = np.random.default_rng(0)
    for item in originals.items(source, size, "stretch"):
        yield item
        if item.split != "train":
            tried = [patches[n] for n in rng.permutation(len(patches))[:TRIED]]
            covered = [0 if item.evidence is None else (patch.area & item.evidence).sum() for patch in tried]
            yield shifted(item, tried[int(np.argmin(covered))].on(item.image))
