"""folder: your own images, with a table, or sorted into folders named after their classes.

``table`` names a CSV file or spreadsheet in ``root`` with one row an image. ``columns`` says what its columns are
called; the last three are optional:

    image    a path below root ("scans/17.png"), or a file's name, with or without extension, unique below root ("17"),
             or the SOP instance UID of a DICOM file
    label    the class, any text
    split    train, val, test, or a further held-out split whose name begins with val- or test-; without splits, 20%
             (``held_out``) are held out, stratified, and halved into val and test
    group    a patient or lesion: all of its images go into one split
    mask     a path below root: the evidence, white on black; simulated experts need it

With ``findings``, an image has any number of these. Each is a column of 0 and 1, in place of ``label``. With a
``separator``, the column ``label`` has the names of all findings that are there.

``attributes`` names further columns, whose values get metrics of their own. Without ``table``: ``root/<class>/…`` or
``root/{train,val,test}/<class>/…``. The patient ids of DICOM files make groups too (pipeline/sources/dicom_files.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.config import Folder
from pipeline.errors import DataError, listed
from pipeline.sources import class_folders, dicom_files, files, findings, spelling, splits, tables
from pipeline.sources.dicom_files import Header
from pipeline.sources.source import Original, Originals

REMEDY = "put the table there, or correct `datasets.<name>` in params.yaml"
ATTRIBUTE, FINDING = "attribute ", "finding "  # before the name of a column, which may be any
PLURALS = {"label": "labels", "split": "splits", "group": "groups", "mask": "masks"}


def read(settings: Folder) -> Originals:
    """Return all images with a label; raise DataError on missing files and contradictions."""
    root = Path(settings.root)
    if not root.is_dir():
        what = "is no folder" if root.exists() else "is missing"
        raise DataError(f"{root} {what}. Fix: put the images there, or correct `datasets.<name>.root` in params.yaml.")
    present = files.below(root)
    scans = dicom_files.headers(present)
    if settings.table is None:
        rows = class_folders.read(root, present, dicom_files.images(present, scans))
    else:
        rows = _from_table(root, files.inside(root, settings.table), settings, present=present, scans=scans)
    rows = dicom_files.with_patients(rows, scans)
    dicom_files.tell(rows, scans, has_window=settings.window is not None)
    if settings.findings:
        return Originals(settings.findings, rows, held_out=settings.held_out, findings=True)
    classes = spelling.in_order({row.label for row in rows})
    if len(classes) < 2:
        raise DataError(f"{root} has images of one class only, {classes[0]!r}. Fix: add images of another class.")
    return Originals(_ordered(root, classes, settings.classes), rows, held_out=settings.held_out)


def _ordered(root: Path, classes: list[str], given: list[str] | None) -> list[str]:
    """Return the classes in the settings' order."""
    if given is None:
        if len(classes) > 2:
            print(f"{root}: the classes in order are {', '.join(classes)}. `classes` sets another order", flush=True)
        return classes
    if sorted(given) != sorted(classes):
        raise DataError(
            f"`classes` names {', '.join(given)}, but {root} has {', '.join(classes)}. Fix: name each class once under "
            "`datasets.<name>.classes` in params.yaml."
        )
    return given


def _from_table(
    root: Path, path: Path, settings: Folder, *, present: list[Path], scans: Mapping[Path, Header]
) -> list[Original]:
    table = _read(path, settings)
    _check_splits(path, table)
    present = [file for file in present if file != path]
    table["mask"] = _masks(path, root, table, present)
    masks = set(table["mask"])
    images = sorted(dicom_files.images(present, scans) - masks)
    uids = {file: header.uid for file, header in scans.items() if header.uid}
    found = files.find(root, list(table["image"]), images, also=uids)
    _name_unreadable(path, table["image"], found, present)
    named = set(found.values())
    others = {str(image.relative_to(root)): image for image in images if image not in named}
    table = tables.with_files(path, table, key="image", files=others | found)
    attributes = {ATTRIBUTE + one: f"values of {one!r}" for one in settings.attributes}
    table = tables.unique(path, table, key="path", columns=PLURALS | attributes)
    _check_masks(path, table)
    return [
        Original(
            name=str(row["path"].relative_to(root)) if row["image"] == uids.get(row["path"]) else row["image"],
            path=row["path"],
            label=row["label"],
            split=splits.named(row["split"] or ""),
            group=row["group"],
            mask=row["mask"],
            attributes={one: row[ATTRIBUTE + one] for one in settings.attributes if row[ATTRIBUTE + one] is not None},
        )
        for row in table.to_dict("records")
    ]


def _read(path: Path, settings: Folder) -> pd.DataFrame:
    """Return the table with our own names of columns; each label, group and attribute has one spelling."""
    own_columns = settings.findings if settings.findings and settings.separator is None else []
    names = settings.columns.model_dump(exclude={"label"} if own_columns else None)  # our names → the table's
    explicit = [names[own] for own in names if own in ("image", "label", *settings.columns.model_fields_set)]
    needed = [*explicit, *own_columns, *settings.attributes]
    table = tables.read(path, needed, REMEDY, optional=list(names.values()))
    read = [f"{own} in {theirs!r}" for own, theirs in names.items() if theirs in table]
    read += [f"findings in {', '.join(map(repr, own_columns))}"] if own_columns else []
    others = [column for column in table if column not in (*names.values(), *needed)]
    print(f"{path}: {', '.join(read)}" + (f"; not read: {', '.join(others)}" if others else ""), flush=True)
    wanted = names | {ATTRIBUTE + one: one for one in settings.attributes} | {FINDING + one: one for one in own_columns}
    columns = {own: table.get(theirs, default=None) for own, theirs in wanted.items()}
    table = pd.DataFrame(columns, table.index, dtype=object)
    tables.complete(path, table, {own: own for own in ("image", "label") if own in names})
    if settings.findings:
        table["label"] = _findings(path, table, settings, settings.findings)
    spelled = {"group": "groups", **{ATTRIBUTE + one: f"{one}s" for one in settings.attributes}}
    for column, plural in (spelled if settings.findings else {"label": "labels", **spelled}).items():
        table[column] = spelling.unified(table[column], where=path, what=plural, place=lambda row: f"row {row}")
    return table


def _findings(path: Path, table: pd.DataFrame, settings: Folder, names: list[str]) -> pd.Series:
    """Return the label of each row: the text of its findings."""
    if settings.separator is None:
        columns = pd.DataFrame({name: table[FINDING + name] for name in names})
        return findings.of_columns(path, table["image"], columns)
    separator, no_finding = settings.separator, settings.no_finding
    return findings.of_names(path, table["label"], names, separator=separator, no_finding=no_finding)


def _check_splits(path: Path, table: pd.DataFrame) -> None:
    unknown = [(i, s) for i, s in zip(table["image"], table["split"], strict=True) if s and splits.named(s) is None]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} splits are not train, val or test, nor a further held-out split such as "
            f"test-site-b. Fix: correct these rows:\n{listed(f'{i}: {s!r}' for i, s in unknown)}"
        )


def _masks(path: Path, root: Path, table: pd.DataFrame, present: list[Path]) -> list[Path | None]:
    """Return each row's mask, or None; raise DataError naming masks that do not exist."""
    names = [name for name in table["mask"] if name is not None]
    for name in names:
        files.inside(root, name)
    found = files.find(root, names, present, anywhere=False)
    missing = [
        f"{image}: {root / mask}"
        for image, mask in zip(table["image"], table["mask"], strict=True)
        if mask is not None and mask not in found
    ]
    if missing:
        raise DataError(
            f"{path} names {len(missing)} masks that do not exist. Fix: correct their paths:\n{listed(missing)}"
        )
    return [None if mask is None else found[mask] for mask in table["mask"]]


def _check_masks(path: Path, table: pd.DataFrame) -> None:
    images: dict[Path, list[str]] = {}
    for image, mask in zip(table["image"], table["mask"], strict=True):
        if mask is not None:
            images.setdefault(mask, []).append(image)
    shared = [f"{mask.name}: {', '.join(names)}" for mask, names in images.items() if len(names) > 1]
    if shared:
        raise DataError(
            f"{path}: {len(shared)} masks are given to several images. Fix: give each mask to one image:\n"
            f"{listed(shared)}"
        )


def _name_unreadable(path: Path, names: pd.Series, found: dict[str, Path], present: list[Path]) -> None:
    """Print the files that the table names, and that are no images by their extension."""
    wanted = {Path(name).stem for name in names if name not in found}
    others = [file for file in present if file.stem in wanted and not files.is_image(file)]
    if others:
        print(
            f"warning: {path} names {len(others)} files that are no images ({files.by_extension(others)}). Convert "
            f"them to PNG or JPEG:\n{listed(others)}"
        )
