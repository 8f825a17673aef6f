"""Tables that come with images: read whole, joined by id and never by order, and checked row by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.errors import ConfigError, listed


def read(path: Path, columns: list[str], remedy: str) -> pd.DataFrame:
    """A CSV file or a spreadsheet as text, blank cells as None, stripped of spaces around values.

    Raises ConfigError if it is missing (``remedy`` says how to get it), damaged or without rows, or
    lacks one of ``columns``.
    """
    try:
        if path.suffix.lower() in (".xls", ".xlsx"):
            table = pd.read_excel(path, dtype=str, keep_default_na=False)  # a class may be called "None" or "NA"
        else:
            table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"{path} cannot be read as a table ({error}); correct it, or get it again") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise ConfigError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.columns))}"
        )
    if table.empty:
        raise ConfigError(f"{path} has no rows")
    table = table.astype(object).map(lambda cell: str(cell).strip() or None)
    return table.where(table.notna(), None)


def whole_numbers(path: Path, ids: pd.Series, values: pd.Series, allowed: range | None = None) -> pd.Series:
    """A column as integers ("1" or "1.0"); raises ConfigError naming every row that is none, or not allowed."""
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0)
    if allowed is not None:
        wrong |= ~numbers.isin(allowed)
    if wrong.any():
        what = "a whole number" if allowed is None else f"one of {', '.join(map(str, allowed))}"
        rows = [f"{i}: {v!r}" for i, v in zip(ids[wrong], values[wrong], strict=True)]
        raise ConfigError(f"{path}: {len(rows)} values of {values.name!r} are not {what}:\n{listed(rows)}")
    return numbers.astype(int)


def unique(path: Path, table: pd.DataFrame, key: str, label: str) -> pd.DataFrame:
    """One row an id; raises ConfigError if rows of one id have different labels."""
    labels = table.groupby(key)[label].nunique(dropna=False)
    if (labels > 1).any():
        twice = [f"{i}: {', '.join(map(str, table.loc[table[key] == i, label]))}" for i in labels.index[labels > 1]]
        raise ConfigError(f"{path}: {len(twice)} ids have contradicting labels; keep one row of each:\n{listed(twice)}")
    again = table[key].duplicated()
    if again.any():
        print(f"warning: {path} says {int(again.sum())} rows twice; one of each counts")
    return table[~again]


def with_files(path: Path, table: pd.DataFrame, key: str, files: Mapping[str, Path]) -> pd.DataFrame:
    """The rows whose id has an image, which becomes the column ``path``.

    Says how many ids have no image and how many images no label; raises ConfigError if nothing meets.
    """
    there = table[key].isin(files)
    if not there.any():
        raise ConfigError(
            f"none of the {len(table)} ids of {path} has an image; the first ids are "
            f"{', '.join(table[key][:3])}, the first images {', '.join(sorted(files)[:3]) or 'none at all'}"
        )
    if not there.all():
        print(
            f"warning: {int((~there).sum())} ids of {path} have no image, left out:\n{listed(table.loc[~there, key])}"
        )
    if unlabelled := sorted(files.keys() - set(table[key])):
        print(f"warning: {len(unlabelled)} images have no label in {path}, left out:\n{listed(unlabelled)}")
    return table[there].assign(path=[files[i] for i in table.loc[there, key]])


def by_stem(folder: Path, remedy: str, suffix: str = "", pattern: str = "*") -> dict[str, Path]:
    """Files of a folder by name without extension, and without ``suffix`` before it.

    Raises ConfigError if there is no such folder, or two files have one name.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is missing; {remedy}")
    found: dict[str, Path] = {}
    twice = []
    for file in sorted(folder.rglob(pattern)):
        if file.is_file() and file.stem.endswith(suffix) and not file.name.startswith("."):
            stem = file.stem.removesuffix(suffix) if suffix else file.stem
            if stem in found:
                twice.append(f"{found[stem]} and {file}")
            found[stem] = file
    if twice:
        raise ConfigError(f"{len(twice)} files have the name of another one; rename them:\n{listed(twice)}")
    return found


def masks(folder: Path, ids: pd.Series, suffix: str = "") -> dict[str, Path]:
    """Evidence masks by image id, an empty dict without the folder; says how many belong to no image."""
    if not folder.is_dir():
        return {}
    found = by_stem(folder, "", suffix, pattern="*.png")
    if strangers := sorted(found.keys() - set(ids)):
        print(f"warning: {len(strangers)} masks of {folder} belong to no image, not used:\n{listed(strangers)}")
    return {i: path for i, path in found.items() if i not in strangers}


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path stays below ``root``, links followed."""
    return path.resolve().is_relative_to(root.resolve())


def inside(root: Path, name: str) -> Path:
    """A path below ``root``; raises ConfigError if it leads elsewhere, directly or through a link."""
    path = root / name
    if not is_inside(root, path):
        raise ConfigError(f"{name!r} leads out of the data folder {root}; move it there, and name it from there")
    return path
