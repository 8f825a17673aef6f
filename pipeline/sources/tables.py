"""Tables that come with images: read as people export them, joined by id and never by order, and checked row by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError, listed
from pipeline.sources import files, sheets
from pipeline.sources.sheets import Sheet

HEADER_WITHIN = 20  # rows; titles and notes may stand above the header


def read(path: Path, columns: list[str], remedy: str, *, optional: list[str] | None = None) -> pd.DataFrame:
    """Read a table as text: values without outer spaces, blank cells as None. The index is the row's number.

    Prints how the table was read, where there was a choice: the encoding, the separator, the sheet, the header's row,
    and names of columns with other capital letters.

    Args:
        path: A text file with separated columns, or an .xlsx spreadsheet.
        columns: Columns that the table must have.
        remedy: How to get the table, if it is missing.
        optional: Columns that it may have, and which are found with other capital letters too.

    Raises:
        DataError: The table is missing, is damaged, has no rows, lacks a column, or has it twice.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. Fix: {remedy}.")
    wanted = [*columns, *(optional or [])]
    first: list[str] = []  # row, as it is read best
    for sheet in sheets.read(path):
        header = _header(sheet, columns)
        if header is not None:
            break
        first = max([first, *sheet.rows[:1]], key=len)
    else:
        missing = [column for column in columns if not _matching(first, column)]
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, first)) or 'no rows'}. "
            "Fix: correct the table's first row, or the column names in params.yaml."
        )
    if sheet.damage:
        raise DataError(f"{path} cannot be read as a table ({sheet.damage}). Fix: close each quote in that line.")
    table, renamed = _table(path, sheet, header, wanted)
    said = [*sheet.said, *([f"the header in row {header + 1}"] if header else []), *renamed]
    if said:
        print(f"{path}: read with {', '.join(said)}", flush=True)
    if table.empty:
        raise DataError(f"{path} has no rows. Fix: add a row for each image.")
    return table


def _header(sheet: Sheet, columns: list[str]) -> int | None:
    """Return the place of the first row with all of these columns, among the rows where headers are."""
    fits = (n for n, cells in enumerate(sheet.rows[:HEADER_WITHIN]) if all(_matching(cells, one) for one in columns))
    return next(fits, None)


def _matching(cells: list[str], column: str) -> list[int]:
    """Return the places of a column in a header: by its name, or else by its name in other capital letters."""
    exact = [place for place, cell in enumerate(cells) if cell == column]
    return exact or [place for place, cell in enumerate(cells) if cell.casefold() == column.casefold()]


def _table(path: Path, sheet: Sheet, header: int, wanted: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows below the header, and a text for each column with another name than is wanted."""
    names = list(sheet.rows[header])
    renamed = []
    for column in wanted:
        places = _matching(names, column)
        if len(places) > 1:
            raise DataError(f"{path} has {len(places)} columns called {column!r}. Fix: rename all but one of them.")
        if places and names[places[0]] != column:
            renamed.append(f"{names[places[0]]!r} as {column!r}")
            names[places[0]] = column
    rows = {n + 1: cells for n, cells in enumerate(sheet.rows) if n > header and any(cells)}
    longer = [f"row {n}: {' | '.join(cells)}" for n, cells in rows.items() if any(cells[len(names) :])]
    if longer:
        raise DataError(
            f"{path}: {len(longer)} rows have more cells than the header, which has {len(names)}. Fix: put quotes "
            f"around cells that contain the separator:\n{listed(longer)}"
        )
    places_of = {name: place for place, name in enumerate(names) if name}
    cells_of = {
        name: [(cells[place] or None) if place < len(cells) else None for cells in rows.values()]
        for name, place in places_of.items()
    }
    return pd.DataFrame(cells_of, list(rows), dtype=object), renamed  # columns of text would turn None into NaN


def complete(path: Path, table: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Raise DataError naming the rows with a blank cell; ``columns``: columns of the table → what they hold."""
    for column, what in columns.items():
        blank = [f"row {n}" for n in table.index[table[column].isna()]]  # as a spreadsheet counts rows
        if blank:
            raise DataError(f"{path}: {len(blank)} rows have no {what}. Fix: fill in these rows:\n{listed(blank)}")


def whole_numbers(path: Path, ids: pd.Series, values: pd.Series, *, allowed: range | None = None) -> pd.Series:
    """Return a column as integers ("1" or "1.0"); raise DataError naming each row with another value."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = numbers.isna() | (numbers % 1 != 0) | (numbers.abs() > 2**53)
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
    rows = zip(table[key], *(table[name] for name in names), strict=True)
    return {i: {n: value for n, value in zip(names, row, strict=True) if value is not None} for i, *row in rows}


def unique(path: Path, table: pd.DataFrame, *, key: str, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return one row an id; raise DataError if rows of one id differ in one of ``columns`` (column → its plural)."""
    again = table[key].duplicated(keep=False)
    for column, plural in columns.items():
        values = table[again].groupby(key, sort=False)[column].nunique(dropna=False)
        twice = [
            f"{i}: " + ", ".join(f"{value} (row {n})" for n, value in table.loc[table[key] == i, column].items())
            for i in values.index[values > 1]
        ]
        if twice:
            raise DataError(
                f"{path}: {len(twice)} ids have contradicting {plural}. Fix: keep one row for each id:\n{listed(twice)}"
            )
    repeated = table[key].duplicated()
    if repeated.any():
        print(f"warning: {path} repeats {int(repeated.sum())} rows; each row counts once")
    return table[~repeated]


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


def by_stem(folder: Path, remedy: str, *, suffix: str = "", extensions: tuple[str, ...]) -> dict[str, Path]:
    """Return the images of a folder by name, without extension and without ``suffix`` before the extension.

    Raises DataError if the folder is missing (``remedy`` says how to get it), if two files have one name, or if there
    are only files with other extensions.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing. Fix: {remedy}.")
    found: dict[str, Path] = {}
    twice = []
    present = files.below(folder)
    for file in present:
        if file.suffix.lower() in extensions and file.stem.endswith(suffix):
            stem = file.stem.removesuffix(suffix)
            if stem in found:
                twice.append(f"{found[stem]} and {file}")
            found[stem] = file
    if twice:
        raise DataError(f"{folder}: {len(twice)} files have another file's name. Fix: rename them:\n{listed(twice)}")
    if present and not found:
        raise DataError(
            f"{folder} has no file called *{suffix}{extensions[0]}, but {files.by_extension(present)}. Fix: {remedy}."
        )
    return found


def masks(folder: Path, ids: pd.Series, suffix: str = "") -> dict[str, Path]:
    """Return evidence masks by image id, none without the folder. Prints the masks that belong to no image."""
    if not folder.is_dir():
        return {}
    found = by_stem(folder, "give the masks this name", suffix=suffix, extensions=(".png",))
    if strangers := sorted(found.keys() - set(ids)):
        print(f"warning: left out {len(strangers)} masks of {folder} that belong to no image:\n{listed(strangers)}")
    return {i: path for i, path in found.items() if i not in strangers}
