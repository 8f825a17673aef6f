"""nci: cervigrams, normal or not (United States National Cancer Institute).

Not public, and without an official page to download from: the NCI gives the images and the covariate
table to research groups on request, under the terms agreed on. ``root`` holds both:

    **/<IMAGE_ID>_C1.jpg     cervigrams, in any folders
    <covariates>             a spreadsheet or CSV: IMAGE_ID, WRST_HIST_AFTER, perhaps a patient's id

The paper's classes: 0 where the worst histology afterwards, WRST_HIST_AFTER, is at most 0, else 1.
Split 75/25 by patient where ``patient`` names the table's column, and the 25 halved into val and
test (the paper selects and reports on the same 25). The evidence is where a centred Gaussian with
sigma = a quarter of the side is above half of its height: cervix photographs are taken centred, and a
Gaussian of that kind is what Albuquerque and Cardoso 2021 regularise towards; ours is cut off at
half height, because evidence is a set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Nci
from pipeline.sources import tables
from pipeline.sources.originals import Original, Originals

CLASSES = ["0", "1"]
SUFFIX = "_C1"
SIGMA = 0.25  # of the side
REMEDY = "ask the NCI for the images and the covariate table, and set `datasets.<name>.root` to their folder"


def read(settings: Nci) -> Originals:
    """All cervigrams that have a histology; raises ConfigError on what is missing or contradicts itself."""
    root = Path(settings.root)
    path = tables.inside(root, settings.covariates)
    columns = ["IMAGE_ID", "WRST_HIST_AFTER", *([settings.patient] if settings.patient else [])]
    table = tables.read(path, columns, REMEDY)
    table["IMAGE_ID"] = table["IMAGE_ID"].str.removesuffix(SUFFIX)
    unknown = table["WRST_HIST_AFTER"].isna()
    if unknown.any():
        print(f"warning: {int(unknown.sum())} rows of {path} have no WRST_HIST_AFTER, left out")
    table = table[~unknown].copy()
    worst = tables.whole_numbers(path, table["IMAGE_ID"], table["WRST_HIST_AFTER"])
    table["label"] = (worst > 0).astype(int)
    table = tables.unique(path, table, "IMAGE_ID", "label")
    files = tables.by_stem(root, REMEDY, SUFFIX, pattern=f"*{SUFFIX}.jpg")
    table = tables.with_files(path, table, "IMAGE_ID", files)
    patients = table[settings.patient] if settings.patient else [None] * len(table)
    rows = [
        Original(name, file, CLASSES[label], group=patient)
        for name, file, label, patient in zip(table["IMAGE_ID"], table["path"], table["label"], patients, strict=True)
    ]
    return Originals(CLASSES, rows, evidence=centre, held_out=0.25)


def centre(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a centred Gaussian is above half of its height, (S, S), for a (S, S, 3) picture."""
    side = len(picture)
    offset = (np.arange(side) + 0.5) / side - 0.5
    squared = offset[:, None] ** 2 + offset[None, :] ** 2
    return np.asarray(np.exp(-squared / (2 * SIGMA**2)) > 0.5)
