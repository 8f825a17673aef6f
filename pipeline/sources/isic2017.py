"""isic2017: dermoscopic images of skin lesions, three kinds (ISIC 2017 challenge, part 3).

Official page: https://challenge.isic-archive.com/data/#2017; licence CC0. ``root`` holds the unpacked downloads:

    ISIC-2017_{Training,Validation,Test_v2}_Data/ISIC_*.jpg
    ISIC-2017_{Training,Validation,Test_v2}_Part3_GroundTruth.csv        image_id, melanoma, seborrheic_keratosis
    ISIC-2017_{Training,Validation,Test_v2}_Part1_GroundTruth/*_segmentation.png    lesion masks: the evidence

The paper's classes are melanoma and not melanoma. The splits are the challenge's own, unless ``table`` names a table
below root with the columns image_id and split; only its images are read then. ``attributes`` names further columns of
it, whose values get metrics of their own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.config import Isic2017
from pipeline.errors import DataError, listed
from pipeline.sources import files, spelling, splits, tables
from pipeline.sources.source import Original, Originals

PARTS = {"train": "Training", "val": "Validation", "test": "Test_v2"}
# (the positive class's column, class names: negative first)
CLASSES = {
    "melanoma": ("melanoma", ["benign", "melanoma"]),
    "seborrheic-keratosis": ("seborrheic_keratosis", ["other", "seborrheic-keratosis"]),
    "melanoma-or-seborrheic-keratosis": ("melanoma", ["seborrheic-keratosis", "melanoma"]),
}
COPIES = ("ISIC_0012970", "ISIC_0012271")  # training images that are in val and in test as well
REMEDY = (
    "download the ISIC 2017 challenge's data (part 3 for the labels, part 1 for the lesion masks) from "
    "https://challenge.isic-archive.com/data/#2017, unpack it, and set `datasets.<name>.root` to its folder"
)
ARTEFACTS_REMEDY = (
    "it comes with https://github.com/alceubissoto/debiasing-skin; put it below `datasets.<name>.root`, or correct "
    "`datasets.<name>.artefacts` in params.yaml"
)


def read(settings: Isic2017) -> Originals:
    """Return all images with a label; raise DataError on missing files and contradictions."""
    root = Path(settings.root)
    positive, classes = CLASSES[settings.classes]
    rows = []
    for split, part in PARTS.items():
        table = _table(root / f"ISIC-2017_{part}_Part3_GroundTruth.csv", root / f"ISIC-2017_{part}_Data")
        masks = tables.masks(root / f"ISIC-2017_{part}_Part1_GroundTruth", table["image_id"], suffix="_segmentation")
        if settings.classes == "melanoma-or-seborrheic-keratosis":
            table = table[table["kind"] != 0]
        rows += [
            Original(row.image_id, row.path, classes[getattr(row, positive)], split, mask=masks.get(row.image_id))
            for row in table.itertuples()
        ]
    return Originals(classes, _with_splits(root, settings, rows) if settings.table else rows)


def artefact(root: Path, table: str, column: str) -> tuple[Path, dict[str, bool]]:
    """Return the path of the table of artefacts, and whether each image in it has the artefact."""
    path = files.inside(root, table)
    rows = tables.read(path, ["image_id", column], ARTEFACTS_REMEDY)
    tables.complete(path, rows, {"image_id": "image_id"})
    rows = tables.unique(path, rows, key="image_id", columns={column: f"values of {column!r}"})
    values = tables.whole_numbers(path, rows["image_id"], rows[column], allowed=range(2))
    return path, {name: bool(value) for name, value in zip(rows["image_id"], values, strict=True)}


def _with_splits(root: Path, settings: Isic2017, rows: list[Original]) -> list[Original]:
    """Return the images that the table names, with its splits and attributes."""
    assert settings.table
    path = files.inside(root, settings.table)
    table = tables.read(path, ["image_id", "split", *settings.attributes], f"put the table there, or {REMEDY}")
    tables.complete(path, table, {"image_id": "image_id"})
    for name in settings.attributes:
        table[name] = spelling.unified(table[name], where=path, what=f"{name}s", place=lambda row: f"row {row}")
    plurals = {"split": "splits"} | {name: f"values of {name!r}" for name in settings.attributes}
    table = tables.unique(path, table, key="image_id", columns=plurals)
    known = tables.attributes(table, "image_id", settings.attributes)
    found = {name: splits.named(split or "") for name, split in zip(table["image_id"], table["split"], strict=True)}
    if wrong := [name for name, split in found.items() if split is None]:
        raise DataError(f"{path}: {len(wrong)} images have no split. Fix: correct these rows:\n{listed(wrong)}")
    kept = [row for row in rows if row.name in found]
    absent = sorted(found.keys() - {row.name for row in kept})
    if absent or len(kept) < len(rows):
        print(f"{path} names {len(kept)} of {len(rows)} images, and {len(absent)} more that are not there")
    return [replace(row, split=found[row.name], attributes=known[row.name]) for row in kept]


def _table(csv: Path, images: Path) -> pd.DataFrame:
    """Return the columns image_id, melanoma, seborrheic_keratosis, kind and path of one part."""
    columns = ["melanoma", "seborrheic_keratosis"]
    table = tables.read(csv, ["image_id", *columns], REMEDY)
    tables.complete(csv, table, {"image_id": "image_id"})
    for column in columns:
        table[column] = tables.whole_numbers(csv, table["image_id"], table[column], allowed=range(2))
    both = table.loc[(table["melanoma"] == 1) & (table["seborrheic_keratosis"] == 1), "image_id"]
    if len(both):
        raise DataError(
            f"{csv}: {len(both)} images are a melanoma and a seborrheic keratosis at once. Fix: correct their rows:\n"
            f"{listed(both)}"
        )
    table["kind"] = table["melanoma"] - table["seborrheic_keratosis"]
    table = tables.unique(csv, table, key="image_id", columns={"kind": "labels"})
    found = tables.by_stem(images, REMEDY, extensions=(".jpg",))
    return tables.with_files(csv, table, key="image_id", files=found)
