"""aptos2019: fundus photographs, five grades of diabetic retinopathy (APTOS 2019 Blindness Detection).

Official page: https://www.kaggle.com/competitions/aptos2019-blindness-detection; the licence is that of
the competition's rules, to be accepted there. ``root`` holds what it offers, unpacked:

    train.csv            id_code, diagnosis (0 to 4)
    train_images/*.png

The labels of its test images were never published, so 20% of the training images are held out and
halved into val and test. The evidence is ``masks`` (a folder beside ``train_images``, with
``<id_code>.png``) where an image has one, and otherwise the fundus: the bright disc in the picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.config import Aptos2019
from pipeline.sources import tables
from pipeline.sources.originals import Original, Originals

CLASSES = [str(grade) for grade in range(5)]
DARK = 16  # of 255: the surround of a fundus photograph is black but for compression noise
REMEDY = (
    "download the data of https://www.kaggle.com/competitions/aptos2019-blindness-detection (account needed), "
    "unpack it, and set `datasets.<name>.root` to its folder"
)


def read(settings: Aptos2019) -> Originals:
    """All images that have a grade; raises ConfigError on what is missing or contradicts itself."""
    root = Path(settings.root)
    csv = root / "train.csv"
    table = tables.read(csv, ["id_code", "diagnosis"], REMEDY)
    table["diagnosis"] = tables.whole_numbers(csv, table["id_code"], table["diagnosis"], range(5))
    table = tables.unique(csv, table, "id_code", "diagnosis")
    table = tables.with_files(csv, table, "id_code", tables.by_stem(root / "train_images", REMEDY, pattern="*.png"))
    masks = {}
    if settings.masks is not None:
        folder = tables.inside(root, settings.masks)
        masks = tables.masks(folder, table["id_code"])
    rows = [
        Original(row.id_code, row.path, CLASSES[row.diagnosis], mask=masks.get(row.id_code))
        for row in table.itertuples()
    ]
    return Originals(CLASSES, rows, evidence=disc, held_out=0.2)


def disc(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the fundus is in a (S, S, 3) picture, (S, S): the largest bright area, holes filled.

    All of the picture, if there is no such area that fills at least a tenth of it.
    """
    bright = ndimage.binary_opening(picture.max(axis=2) > DARK, iterations=2)
    areas, count = ndimage.label(bright)
    if count:
        largest = areas == 1 + np.argmax(np.bincount(areas.ravel())[1:])
        if largest.mean() >= 0.1:
            return np.asarray(ndimage.binary_fill_holes(largest), bool)
    return np.ones(picture.shape[:2], bool)
