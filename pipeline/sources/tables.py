"""Tables that come with images: read whole, joined by id and never by order, and checked row by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError, listed


def read(path: Path, columns: list[str], remedy: str) -> pd.DataFrame:
    """Read a CSV file or an .xlsx spreadsheet as text: values without outer spaces, blank cells as None.

    Raises DataError if the table is missing (``remedy`` says how to get it), is damaged, has no rows, or lacks one of
    ``columns``.
    """
    try:
        if path.suffix.lower() == ".xlsx":
            table = pd.read_excel(path, dtype=str, keep_default_na=False)  # a class may be called "None" or "NA"
        else:
            table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Fix: {remedy}.") from None
    except ImportError:
        raise DataError(
            f"{path} is an Excel table, and openpyxl is not installed. Fix: `pip install -e '.[excel]'`."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a table ({error}). Fix: save it as .xlsx, or as CSV in UTF-8."
        ) from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.columns))}. "
            "Fix: correct the table's first row, or the column names in params.yaml."
        )
    if table.empty:
        raise DataError(f"{path} has no rows. Fix: add a row for each image.")
    # Columns of text would turn None into NaN.
    cells = {column: [None if pd.isna(c) else str(c).strip() or None for c in table[column]] for column in table}
    return pd.DataFrame(cells, table.index, dtype=object)


def whole_numbers(path: Path, ids: pd.Series, values: pd.Series, *, allowed: range | None = None) -> pd.Series:
    """Return a column as integers ("1" or "1.0"); raise DataError naming each row with another value."""
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0)
    if allowed is not None:
        wrong |= ~numbers.isin(allowed)
    if wrong.any():
        wanted = "whole numbers" if allowed is None else f"among {', '.join(map(str, allowed))}"
        rows = [f"{i}: {v!r}" for i, v in zip(ids[wrong], values[wrong], strict=True)]
        raise DataError(
            f"{path}: {len(rows)} values of {values.name!r} are not {wanted}. Fix: correct these rows:\n{listed(rows)}"
        )
    return numbers.astype(int)


def attributes(table: pd.DataFrame, key: str, names: list[str]) -> dict[str, dict[str, str]]:
    """Return the values of these columns by id; blank cells are left out."""
    rows = zip(table[key], table[names].to_dict("records"), strict=True)
    return {i: {name: value for name, value in row.items() if value is not None} for i, row in rows}


def unique(path: Path, table: pd.DataFrame, *, key: str, label: str) -> pd.DataFrame:
    """Return one row an id; raise DataError if rows with one id have different labels."""
    labels = table.groupby(key)[label].nunique(dropna=False)
    if (labels > 1).any():
        twice = [f"{i}: {', '.join(map(str, table.loc[table[key] == i, label]))}" for i in labels.index[labels > 1]]
        raise DataError(
            f"{path}: {len(twice)} ids have contradicting labels. Fix: keep one row for each id:\n{listed(twice)}"
        )
    again = table[key].duplicated()
    if again.any():
        print(f"warning: {path} repeats {int(again.sum())} rows; each row counts once")
    return table[~again]


def with_files(path: Path, table: pd.DataFrame, *, key: str, files: Mapping[str, Path]) -> pd.DataFrame:
    """Return the rows with an image, whose file becomes the column ``path``.

    Prints the ids without an image and the images without a label. Raises DataError if no id has an image.
    """
    there = table[key].isin(files)
    if not there.any():
        raise DataError(
            f"none of the {len(table)} ids of {path} has an image. The first ids are {', '.join(table[key][:3])}; the "
            f"first images are {', '.join(sorted(files)[:3]) or 'missing'}. Fix: make the ids equal the images' names."
        )
    if not there.all():
        absent = table.loc[~there, key]
        print(f"warning: left out {len(absent)} ids of {path} without an image:\n{listed(absent)}")
    if unlabelled := sorted(files.keys() - set(table[key])):
        print(f"warning: left out {len(unlabelled)} images without a label in {path}:\n{listed(unlabelled)}")
    return table[there].assign(path=[files[i] for i in table.loc[there, key]])


def by_stem(folder: Path, remedy: str, *, suffix: str = "", pattern: str = "*") -> dict[str, Path]:
    """Return the files of a folder by name, without extension and without ``suffix`` before the extension.

    Raises DataError if the folder is missing (``remedy`` says how to get it), or if two files have one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing. Fix: {remedy}.")
    found: dict[str, Path] = {}
    twice = []
    for file in sorted(folder.rglob(pattern)):
        if file.is_file() and file.stem.endswith(suffix) and not file.name.startswith("."):
            stem = file.stem.removesuffix(suffix) if suffix else file.stem
            if stem in found:
                twice.append(f"{found[stem]} and {file}")
            found[stem] = file
    if twice:
        raise DataError(f"{folder}: {len(twice)} files have another file's name. Fix: rename them:\n{listed(twice)}")
    return found


def masks(folder: Path, ids: pd.Series, suffix: str = "") -> dict[str, Path]:
    """Return evidence masks by image id, none without the folder. Prints the masks that belong to no image."""
    if not folder.is_dir():
        return {}
    found = by_stem(folder, "", suffix=suffix, pattern="*.png")
    if strangers := sorted(found.keys() - set(ids)):
        print(f"warning: left out {len(strangers)} masks of {folder} that belong to no image:\n{listed(strangers)}")
    return {i: path for i, path in found.items() if i not in strangers}


def is_inside(root: Path, path: Path) -> bool:
    """Return whether a path is below ``root`` after following links."""
    return path.resolve().is_relative_to(root.resolve())


def inside(root: Path, name: str) -> Path:
    """Return a path below ``root``; raise DataError if the path leads elsewhere, directly or through a link."""
    path = root / name
    if not is_inside(root, path):
        raise DataError(
            f"{name!r} leads out of the data folder {root}. Fix: move the file there, and name it from there."
        )
    return path
