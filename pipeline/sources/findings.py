"""Findings in a table: a column of 0 and 1 for each finding, or one column with the names of all of them."""

from __future__ import annotations

from itertools import compress
from pathlib import Path

import pandas as pd

from pipeline.data.labels import joined
from pipeline.errors import DataError, listed
from pipeline.sources import tables


def of_columns(path: Path, images: pd.Series, columns: pd.DataFrame) -> pd.Series:
    """Return each image's label from a column of 0 and 1 for each finding.

    Args:
        path: The table, for messages.
        images: The images' names, one a row.
        columns: The cells, a column a finding.

    Raises:
        DataError: A cell is blank, or another value than 0 or 1; the message names its row.
    """
    tables.complete(path, columns, {name: f"0 or 1 in {name!r}" for name in columns})
    numbers = [tables.whole_numbers(path, images, columns[name], allowed=range(2)) for name in columns]
    names = list(columns)
    found = [joined(list(compress(names, row)), names) for row in zip(*numbers, strict=True)]
    return pd.Series(found, columns.index, dtype=object)


def of_names(path: Path, cells: pd.Series, findings: list[str], *, separator: str, no_finding: str) -> pd.Series:
    """Return each image's label from cells such as "mass|nodule", and say where no cell has the separator.

    Args:
        path: The table, for messages.
        cells: The cells, none of them blank. The index has the numbers of the rows.
        findings: The names that may occur.
        separator: The text between two names.
        no_finding: The cell of an image without findings.

    Raises:
        DataError: A name is empty or none of the findings, or ``no_finding`` stands beside a finding; the message names
            the rows.
    """
    each = cells.map(lambda cell: [name.strip() for name in cell.split(separator)])
    wrong = [
        f"row {row}: {cell!r} has {problem}"
        for (row, cell), names in zip(cells.items(), each, strict=True)
        if (problem := _problem(names, findings, no_finding))
    ]
    if wrong:
        raise DataError(
            f"{path}: the findings of {len(wrong)} rows cannot be read with the separator {separator!r}. Fix: correct "
            f"these rows, or `findings`, `separator` and `no_finding` in params.yaml:\n{listed(wrong)}"
        )
    if not (each.map(len) > 1).any():
        print(
            f"warning: {path}: no row has the separator {separator!r}, so it is read as at most one finding an image. "
            "If no image can have two, list `classes` in place of `findings`",
            flush=True,
        )
    return each.map(lambda names: joined(names, findings))


def _problem(names: list[str], findings: list[str], no_finding: str) -> str:
    if names == [no_finding]:
        return ""
    if unknown := [name for name in names if name not in (*findings, no_finding)]:
        return f"{unknown[0]!r}, which is none of `findings`" if unknown[0] else "an empty name"
    return f"{no_finding!r} beside a finding" if no_finding in names else ""
