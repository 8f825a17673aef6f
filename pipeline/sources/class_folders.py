"""Images sorted into folders named after their classes, perhaps within folders named after splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError, listed
from pipeline.sources import files, spelling, splits
from pipeline.sources.source import Original


def read(root: Path, present: list[Path], images: set[Path]) -> list[Original]:
    """Return the images in ``root/<class>/…`` or ``root/<split>/<class>/…``, and print all files that are left out.

    Args:
        root: The data folder.
        present: All files below root, sorted.
        images: The images among these files.

    Raises:
        DataError: It is not clear which folders are splits, and which are classes.
    """
    named = _splits_of(root)
    split_of = {c: split for f, split in named.items() for c in (_folders(f) if split else [f])}
    if not any(named.values()):
        _check_classes(root, list(split_of))
    inner: dict[Path, list[Path]] = {folder: [] for folder in sorted(split_of, key=str)}  # the files of each class
    depth = len(root.parts) + (2 if any(named.values()) else 1)
    for path in present:
        if len(path.parts) > depth:
            inner[Path(*path.parts[:depth])].append(path)
    rows = [
        Original(str(path.relative_to(root)), path, folder.name, split_of[folder])
        for folder, paths in inner.items()
        for path in paths
        if path in images
    ]
    if not rows:
        raise DataError(
            f"{root} has no images in folders named after classes. Fix: sort the images into such folders, or name a "
            "`table` under `datasets.<name>` in params.yaml."
        )
    _check_empty(root, inner, images, {row.label for row in rows})
    taken = {row.path for row in rows}
    if others := [path for path in present if path not in taken]:
        print(
            f"warning: left out {len(others)} files that are no images in folders of classes "
            f"({files.by_extension(others)}):\n{listed(path.relative_to(root) for path in others)}"
        )
    for row in rows:
        files.inside(root, row.name)
    labels = pd.Series({row.name: row.label for row in rows}, dtype=object)
    labels = spelling.unified(labels, where=root, what="classes", place=str)
    return [replace(row, label=labels[row.name]) for row in rows]


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not files.is_junk(path.name))


def _splits_of(root: Path) -> dict[Path, str | None]:
    """Return the split of each folder in root; None for all of them if the folders are classes."""
    folders = _folders(root)
    named = {folder: splits.named(folder.name) for folder in folders}
    others = [folder.name for folder, split in named.items() if split is None]
    meant = ", ".join(folder.name for folder, split in named.items() if split)
    if "train" not in named.values():
        usual = [folder.name for folder, split in named.items() if split in ("val", "test")]
        if usual:
            raise DataError(
                f"{root} has folders that are called like splits ({', '.join(usual)}), and no folder of training "
                "images. Fix: add the folder `train`, or rename folders that are classes."
            )
        return dict.fromkeys(folders)  # test-positive and test-negative, say, are classes
    if others:
        raise DataError(
            f"{root} has folders that are splits ({meant}) beside {len(others)} that are none. Fix: move all images "
            f"into splits, or rename the folders that are classes:\n{listed(others)}"
        )
    return dict(named)


def _check_classes(root: Path, classes: list[Path]) -> None:
    inner = [folder for c in classes for folder in _folders(c) if splits.named(folder.name) == "train"]
    if inner:
        raise DataError(
            f"{root} has splits within {len(inner)} classes. Fix: put the classes into the splits, as "
            f"train/{inner[0].parent.name}:\n{listed(folder.relative_to(root) for folder in inner)}"
        )


def _check_empty(root: Path, inner: dict[Path, list[Path]], images: set[Path], labels: set[str]) -> None:
    """Raise DataError if a folder of a class has other files only, or is all that the class has."""
    without = [
        f"{folder.relative_to(root)}: {files.by_extension(paths) or 'empty'}"
        for folder, paths in inner.items()
        if images.isdisjoint(paths) and (paths or folder.name not in labels)
    ]
    if without:
        raise DataError(
            f"{root} has {len(without)} folders without any image. Fix: convert the images to PNG or JPEG, or move "
            f"these folders elsewhere:\n{listed(without)}"
        )
