"""The project's own CSV files: every text comes back as it was, be it "NA", empty, or full of quotes and line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd


def write(path: Path, table: pd.DataFrame, *, comment: str = "", **options: Any) -> None:
    """Write a table; ``comment`` is a first line, and ``options`` go to pandas' to_csv."""
    text = table.to_csv(index=False, lineterminator="\n", **options)
    if "\r" in text:  # before Python 3.13, csv does not quote a text with this line end
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC, **options)
    path.write_bytes(f"{comment}{text}".encode())


def read(text: str, *, types: dict[str, Any] | None = None, may_lack: Iterable[str] = ()) -> pd.DataFrame:
    """Return a table as text cells, or with the types of some columns.

    Only in the columns ``may_lack`` is an empty cell a missing value.
    """
    blank = {column: [""] for column in may_lack}
    return pd.read_csv(
        io.StringIO(text, newline=""), dtype=types or str, keep_default_na=False, na_values=blank, low_memory=False
    )


def text_of(path: Path) -> str:
    """Return a file's content; line ends stay as they are."""
    return path.read_bytes().decode()
