"""isic2017-ruler: ISIC 2017 with a shortcut of its own, rulers that go with melanoma; nothing is pasted.

Physicians lay a ruler beside what worries them. Here the training images are chosen so that nine in ten melanomas have
a ruler and nine in ten benign lesions have none. In val every combination is equally frequent, and test holds all other
images. ``root`` as for isic2017, with a table of artefacts: image_id and, among others, ruler (0 or 1), as in Bissoto
et al. 2020, *Debiasing skin lesion datasets and models? Not so fast*, https://arxiv.org/abs/2004.11457. The evidence is
the lesion's mask; only images with one are trained on. The attribute `ruler` gives each combination a row of metrics.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.config import Isic2017, Isic2017Ruler
from pipeline.errors import DataError
from pipeline.sources import isic2017
from pipeline.sources.source import Original, Originals

CLASSES = isic2017.CLASSES["melanoma"][1]
ALIGNED, OTHER, CHECKED = 180, 18, 40  # images of a combination: in train with the shortcut and against it; in val


def read(settings: Isic2017Ruler) -> Originals:
    """Return all images that the table names, each with its split. The data set is fixed: no seed changes it.

    Raises DataError as isic2017.read does, and where a combination has too few images.
    """
    source = isic2017.read(Isic2017(source="isic2017", root=settings.root, size=settings.size))
    path, ruler = isic2017.artefact(Path(settings.root), settings.artefacts, "ruler")
    known = {name: "ruler" if value else "no ruler" for name, value in ruler.items()}
    rows = [
        replace(row, attributes={"ruler": known[row.name]})
        for row in source.rows
        if row.name in known and row.name not in isic2017.COPIES
    ]
    return Originals(CLASSES, _with_splits(path, rows))


def _with_splits(path: Path, rows: list[Original]) -> list[Original]:
    """Return the rows with their splits, drawn for each combination; an image without evidence is only tested."""
    rng = np.random.default_rng(0)
    splits: dict[str, str] = {}
    for label in CLASSES:
        for ruler in ("no ruler", "ruler"):
            wanted = ALIGNED if (label == "melanoma") == (ruler == "ruler") else OTHER
            names = [r.name for r in rows if (r.label, r.attributes["ruler"]) == (label, ruler) and r.mask is not None]
            if len(names) <= wanted + CHECKED:
                raise DataError(
                    f"{path} has {len(names)} images with a lesion mask that are {label} with {ruler}; more than "
                    f"{wanted + CHECKED} are needed. Fix: use the whole table and all lesion masks."
                )
            drawn = [names[n] for n in rng.permutation(len(names))]
            splits |= dict.fromkeys(drawn[:wanted], "train")
            splits |= dict.fromkeys(drawn[wanted : wanted + CHECKED], "val")
    return [replace(row, split=splits.get(row.name, "test")) for row in rows]
