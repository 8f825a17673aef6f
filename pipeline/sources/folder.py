"""folder: any images of your own, with a table or sorted into folders named after their classes.

With ``table``, a CSV file or spreadsheet in ``root``, one row an image. Its columns are called as
``columns`` says; the last three are optional:

    image    a path below root ("scans/17.png"), or a file's name without extension, unique below root ("17")
    label    the class, any text
    split    train, val or test; without it, 20% (``held_out``) are held out, stratified, and halved into val and test
    group    a patient or lesion: all of its images go into one split
    mask     a path below root: what may matter on the image, white on black; lets a simulated expert answer

Without ``table``: ``root/<class>/…`` or ``root/{train,val,test}/<class>/…``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from pipeline.config import Folder
from pipeline.errors import ConfigError, listed
from pipeline.sources import tables
from pipeline.sources.originals import Original, Originals

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
REMEDY = "put it there, or correct `datasets.<name>` in params.yaml"


def read(settings: Folder) -> Originals:
    """All images that have a label; raises ConfigError on what is missing or contradicts itself."""
    root = Path(settings.root)
    if not root.is_dir():
        raise ConfigError(f"{root} is missing; put the images there, or correct `datasets.<name>.root` in params.yaml")
    rows = _from_folders(root) if settings.table is None else _from_table(root, settings.table, settings)
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        raise ConfigError(f"{root} holds images of one class only, {classes[0]!r}; there is nothing to tell apart")
    return Originals(classes, rows, held_out=settings.held_out)


def _from_folders(root: Path) -> list[Original]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    with_splits = bool(folders) and all(folder.name in SPLITS for folder in folders)
    classes = [
        (SPLITS[f.name] if with_splits else None, c) for f in folders for c in (f.iterdir() if with_splits else [f])
    ]
    rows = [
        Original(str(path.relative_to(root)), path, folder.name, split)
        for split, folder in sorted(classes, key=lambda entry: str(entry[1]))
        for path in sorted(folder.rglob("*"))
        if _is_image(path)
    ]
    if not rows:
        raise ConfigError(
            f"{root} has no images in folders named after classes; sort them so, or name a `table` under "
            "`datasets.<name>` in params.yaml"
        )
    for row in rows:
        tables.inside(root, row.name)
    return rows


def _from_table(root: Path, name: str, settings: Folder) -> list[Original]:
    path = tables.inside(root, name)
    columns = settings.columns
    table = tables.read(path, [columns.image, columns.label], REMEDY)
    names = columns.model_dump()  # ours → theirs
    table = pd.DataFrame(
        {own: table.get(theirs, default=None) for own, theirs in names.items()}, table.index, dtype=object
    )
    _complete(path, table)
    table = tables.unique(path, table, "image", "label")
    table = tables.with_files(path, table, "image", _files(root, table["image"]))
    _masks_belong(path, table)
    missing = []
    rows = []
    for row in table.itertuples():
        mask = None if row.mask is None else tables.inside(root, row.mask)
        if mask is not None and not mask.is_file():
            missing.append(f"{row.image}: {mask}")
        split = None if row.split is None else SPLITS[row.split.lower()]
        rows.append(Original(row.image, row.path, row.label, split, row.group, mask))
    if missing:
        raise ConfigError(f"{path} names {len(missing)} masks that are not there:\n{listed(missing)}")
    return rows


def _complete(path: Path, table: pd.DataFrame) -> None:
    for column in ("image", "label"):
        blank = [f"row {i + 2}" for i in table.index[table[column].isna()]]  # as a spreadsheet counts them
        if blank:
            raise ConfigError(f"{path}: {len(blank)} rows have no {column}:\n{listed(blank)}")
    known = table["split"].dropna().str.lower().isin(SPLITS)
    unknown = table.loc[known.index[~known]]
    if len(unknown):
        rows = [f"{i}: {s!r}" for i, s in zip(unknown["image"], unknown["split"], strict=True)]
        raise ConfigError(f"{path}: {len(rows)} splits are not train, val or test:\n{listed(rows)}")


def _masks_belong(path: Path, table: pd.DataFrame) -> None:
    shared = table.dropna(subset="mask").groupby("mask")["image"].apply(list)
    shared = [f"{mask}: {', '.join(images)}" for mask, images in shared.items() if len(images) > 1]
    if shared:
        raise ConfigError(
            f"{path}: {len(shared)} masks are given to several images, and can belong to one only:\n{listed(shared)}"
        )


def _files(root: Path, names: pd.Series) -> dict[str, Path]:
    """The file of each image that has one: a path below root, or the name of one file without extension."""
    outside = [name for name in names if not tables.is_inside(root, root / name)]
    if outside:
        raise ConfigError(
            f"{len(outside)} images lie outside of the data folder {root}; move them there:\n{listed(outside)}"
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
        raise ConfigError(f"{len(several)} names fit several files; give paths instead:\n{listed(several)}")
    return found | {name: paths[0] for name, paths in wanted.items()}


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in Image.registered_extensions() and path.is_file() and not path.name.startswith(".")
