"""nci: cervigrams, normal or not (United States National Cancer Institute).

The data set is not public and has no download page. The NCI gives the images and the covariate table to research groups
on request, under an agreement. ``root`` holds both:

    **/<IMAGE_ID>_C1.jpg     cervigrams, in any folders
    <covariates>             a spreadsheet or CSV: IMAGE_ID, WRST_HIST_AFTER, and a patient's id if there is one

The paper's classes: 0 for a worst later histology, WRST_HIST_AFTER, of at most 0, else 1. The split is 75/25, by
patient if ``patient`` names the table's column. The 25% are halved into val and test; the paper selects and reports on
the same 25%. The evidence is the area where a centred Gaussian, with sigma = a quarter of the side, is above half of
its height: cervix photographs are taken centred. Albuquerque and Cardoso 2021 regularise towards such a Gaussian; here
it is cut off at half height, because evidence is a set of pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config import Nci
from pipeline.sources import files, spelling, tables
from pipeline.sources.source import Area, Original, Originals, Pixels

CLASSES = ["0", "1"]
SUFFIX = "_C1"
SIGMA = 0.25  # of the side
REMEDY = "ask the NCI for the images and the covariate table, and set `datasets.<name>.root` to their folder"


def read(settings: Nci) -> Originals:
    """Return all cervigrams with a histology; raise DataError on missing files and contradictions."""
    root = Path(settings.root)
    path = files.inside(root, settings.covariates)
    columns = ["IMAGE_ID", "WRST_HIST_AFTER", *([settings.patient] if settings.patient else [])]
    table = tables.read(path, columns, REMEDY)
    tables.complete(path, table, {"IMAGE_ID": "IMAGE_ID"})
    table["IMAGE_ID"] = table["IMAGE_ID"].str.removesuffix(SUFFIX)
    unknown = table["WRST_HIST_AFTER"].isna()
    if unknown.any():
        print(f"warning: left out {int(unknown.sum())} rows of {path} without WRST_HIST_AFTER")
    table = table[~unknown].copy()
    worst = tables.whole_numbers(path, table["IMAGE_ID"], table["WRST_HIST_AFTER"])
    table["label"] = (worst > 0).astype(int)
    patient = {settings.patient: "patients"} if settings.patient else {}
    for column in patient:
        table[column] = spelling.unified(table[column], where=path, what="patients", place=lambda row: f"row {row}")
    table = tables.unique(path, table, key="IMAGE_ID", columns={"label": "labels"} | patient)
    images = tables.by_stem(root, REMEDY, suffix=SUFFIX, extensions=(".jpg",))
    table = tables.with_files(path, table, key="IMAGE_ID", files=images)
    patients = table[settings.patient] if settings.patient else [None] * len(table)
    rows = [
        Original(name, file, CLASSES[label], group=patient)
        for name, file, label, patient in zip(table["IMAGE_ID"], table["path"], table["label"], patients, strict=True)
    ]
    return Originals(CLASSES, rows, evidence=centre, held_out=0.25)


def centre(picture: Pixels) -> Area:
    """Return the area (S, S) of an image (S, S, 3) where a centred Gaussian is above half of its height."""
    side = len(picture)
    offset = (np.arange(side) + 0.5) / side - 0.5
    squared = offset[:, None] ** 2 + offset[None, :] ** 2
    return np.asarray(np.exp(-squared / (2 * SIGMA**2)) > 0.5)
