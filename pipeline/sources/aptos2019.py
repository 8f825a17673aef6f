"""aptos2019: fundus photographs, five grades of diabetic retinopathy (APTOS 2019 Blindness Detection).

Official page: https://www.kaggle.com/competitions/aptos2019-blindness-detection; the licence is part of the
competition's rules, which each user accepts there. ``root`` holds the unpacked download:

    train.csv            id_code, diagnosis (0 to 4)
    train_images/*.png

The labels of the official test images are not public. So 20% of the training images are held out and halved into val
and test. The evidence is a mask, for images that have one: ``masks`` is a folder beside ``train_images``, with
``<id_code>.png``. For all others the evidence is the fundus: the bright disc in the image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config import Aptos2019
from pipeline.sources import files, tables
from pipeline.sources.source import Area, Original, Originals, Pixels

CLASSES = [str(grade) for grade in range(5)]
DARK = 16  # of 255: around the fundus, a photograph is black except for compression noise
REMEDY = (
    "download the data of https://www.kaggle.com/competitions/aptos2019-blindness-detection (account needed), "
    "unpack it, and set `datasets.<name>.root` to its folder"
)


def read(settings: Aptos2019) -> Originals:
    """Return all images with a grade; raise DataError on missing files and contradictions."""
    root = Path(settings.root)
    csv = root / "train.csv"
    table = tables.read(csv, ["id_code", "diagnosis"], REMEDY)
    tables.complete(csv, table, {"id_code": "id_code"})
    table["diagnosis"] = tables.whole_numbers(csv, table["id_code"], table["diagnosis"], allowed=range(5))
    table = tables.unique(csv, table, key="id_code", columns={"diagnosis": "labels"})
    images = tables.by_stem(root / "train_images", REMEDY, extensions=(".png",))
    table = tables.with_files(csv, table, key="id_code", files=images)
    masks = {}
    if settings.masks is not None:
        folder = files.inside(root, settings.masks)
        masks = tables.masks(folder, table["id_code"])
    rows = [
        Original(row.id_code, row.path, CLASSES[row.diagnosis], mask=masks.get(row.id_code))
        for row in table.itertuples()
    ]
    return Originals(CLASSES, rows, evidence=disc, held_out=0.2)


def disc(picture: Pixels) -> Area:
    """Return the fundus (S, S) in an image (S, S, 3): the largest bright area, with its holes filled.

    Without a bright area of at least a tenth of the image, the whole image is returned.
    """
    from scipy import ndimage  # here, because only this data set needs it and importing it takes a second

    bright = ndimage.binary_opening(picture.max(axis=2) > DARK, iterations=2)
    areas, count = ndimage.label(bright)
    if count:
        largest = areas == 1 + np.argmax(np.bincount(areas.ravel())[1:])
        if largest.mean() >= 0.1:
            return np.asarray(ndimage.binary_fill_holes(largest), bool)
    return np.ones(picture.shape[:2], bool)
