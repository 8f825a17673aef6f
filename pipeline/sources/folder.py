"""folder: your own images, with a table, or sorted into folders named after their classes.

``table`` names a CSV file or spreadsheet in ``root`` with one row an image. ``columns`` says what its columns are
called; the last three are optional:

    image    a path below root ("scans/17.png"), or a file's name without extension, unique below root ("17")
    label    the class, any text
    split    train, val, test, or a further held-out split whose name begins with val- or test-; without splits, 20%
             (``held_out``) are held out, stratified, and halved into val and test
    group    a patient or lesion: all of its images go into one split
    mask     a path below root: the evidence, white on black; simulated experts need it

``attributes`` names further columns, whose values get metrics of their own. Without ``table``: ``root/<class>/…`` or
``root/{train,val,test}/<class>/…``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from pipeline.config import Folder
from pipeline.errors import DataError, listed
from pipeline.sources import splits, tables
from pipeline.sources.source import Original, Originals

REMEDY = "put the table there, or correct `datasets.<name>` in params.yaml"


def read(settings: Folder) -> Originals:
    """Return all images with a label; raise DataError on missing files and contradictions."""
    root = Path(settings.root)
    if not root.is_dir():
        raise DataError(
            f"{root} is missing. Fix: put the images there, or correct `datasets.<name>.root` in params.yaml."
        )
    rows = _from_folders(root) if settings.table is None else _from_table(root, settings.table, settings)
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        raise DataError(f"{root} has images of one class only, {classes[0]!r}. Fix: add images of another class.")
    return Originals(classes, rows, held_out=settings.held_out)


def _from_folders(root: Path) -> list[Original]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = {folder: splits.named(folder.name) for folder in folders}
    if "train" not in named.values():  # test-positive and test-negative, say, are classes
        named = dict.fromkeys(folders)
    others = [folder.name for folder, split in named.items() if split is None]
    if others and len(others) < len(folders):
        meant = ", ".join(folder.name for folder, split in named.items() if split)
        raise DataError(
            f"{root} has folders that are splits ({meant}) beside {len(others)} that are none. Fix: move all images "
            f"into splits, or rename the folders that are classes:\n{listed(others)}"
        )
    classes = [(split, c) for f, split in named.items() for c in (f.iterdir() if split else [f])]
    rows = [
        Original(str(path.relative_to(root)), path, folder.name, split)
        for split, folder in sorted(classes, key=lambda entry: str(entry[1]))
        for path in sorted(folder.rglob("*"))
        if _is_image(path)
    ]
    if not rows:
        raise DataError(
            f"{root} has no images in folders named after classes. Fix: sort the images into such folders, or name a "
            "`table` under `datasets.<name>` in params.yaml."
        )
    for row in rows:
        tables.inside(root, row.name)
    return rows


def _from_table(root: Path, name: str, settings: Folder) -> list[Original]:
    path = tables.inside(root, name)
    columns = settings.columns
    table = tables.read(path, [columns.image, columns.label, *settings.attributes], REMEDY)
    known = tables.attributes(table, columns.image, settings.attributes)
    names = columns.model_dump()  # our column names → the table's column names
    table = pd.DataFrame(
        {own: table.get(theirs, default=None) for own, theirs in names.items()}, table.index, dtype=object
    )
    _check_complete(path, table)
    table = tables.unique(path, table, key="image", label="label")
    table = tables.with_files(path, table, key="image", files=_files(root, table["image"]))
    _check_masks(path, table)
    missing = []
    rows = []
    for row in table.itertuples():
        mask = None if row.mask is None else tables.inside(root, row.mask)
        if mask is not None and not mask.is_file():
            missing.append(f"{row.image}: {mask}")
        split = None if row.split is None else splits.named(row.split)
        rows.append(Original(row.image, row.path, row.label, split, row.group, mask, known[row.image]))
    if missing:
        raise DataError(
            f"{path} names {len(missing)} masks that do not exist. Fix: correct their paths:\n{listed(missing)}"
        )
    return rows


def _check_complete(path: Path, table: pd.DataFrame) -> None:
    for column in ("image", "label"):
        blank = [f"row {i + 2}" for i in table.index[table[column].isna()]]  # as a spreadsheet counts rows
        if blank:
            raise DataError(f"{path}: {len(blank)} rows have no {column}. Fix: fill in these rows:\n{listed(blank)}")
    given = table["split"].dropna()
    unknown = table.loc[given.index[given.map(splits.named).isna()]]
    if len(unknown):
        rows = [f"{i}: {s!r}" for i, s in zip(unknown["image"], unknown["split"], strict=True)]
        raise DataError(
            f"{path}: {len(rows)} splits are not train, val or test, nor a further held-out split such as test-site-b. "
            f"Fix: correct these rows:\n{listed(rows)}"
        )


def _check_masks(path: Path, table: pd.DataFrame) -> None:
    shared = table.dropna(subset="mask").groupby("mask")["image"].apply(list)
    shared = [f"{mask}: {', '.join(images)}" for mask, images in shared.items() if len(images) > 1]
    if shared:
        raise DataError(
            f"{path}: {len(shared)} masks are given to several images. Fix: give each mask to one image:\n"
            f"{listed(shared)}"
        )


def _files(root: Path, names: pd.Series) -> dict[str, Path]:
    """Return each existing image's file: a path below root, or the only file with this name without extension."""
    outside = [name for name in names if not tables.is_inside(root, root / name)]
    if outside:
        raise DataError(
            f"{len(outside)} images are outside of the data folder {root}. Fix: move them into it:\n{listed(outside)}"
        )
    found = {name: root / name for name in names if (root / name).is_file()}
    if len(found) == len(names):
        return found
    stems: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if _is_image(path):
            stems.setdefault(path.stem, []).append(path)
    wanted = {name: stems[name] for name in names if name not in found and name in stems}
    several = [f"{name}: {', '.join(str(p) for p in paths)}" for name, paths in wanted.items() if len(paths) > 1]
    if several:
        raise DataError(
            f"{len(several)} names fit several files below {root}. Fix: give paths instead:\n{listed(several)}"
        )
    return found | {name: paths[0] for name, paths in wanted.items()}


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in Image.registered_extensions() and path.is_file() and not path.name.startswith(".")
