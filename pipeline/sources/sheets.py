"""Cells of tables as people export them: with any separator, in any common encoding, as text or as a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LARGEST = 256 << 20  # bytes, unpacked; a table of a million images is smaller
CELLS = 20_000_000
BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]")
ERRORS = {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"}  # cells that a spreadsheet could not fill
FIX = "Fix: save it as .xlsx, or as CSV in UTF-8."


@dataclass(frozen=True)
class Sheet:
    """One reading of a file: all rows of cells, without outer spaces; "" for a blank cell.

    ``said`` names what was chosen in this reading, unless it is the usual choice. ``damage`` says why the rows end.
    """

    rows: list[list[str]]
    said: list[str] = field(default_factory=list)
    damage: str = ""


def read(path: Path) -> Iterator[Sheet]:
    """Yield a file's possible readings, the most usual one first: by separator, or all sheets of a spreadsheet.

    Raises DataError if the file is no table.
    """
    try:
        yield from _of_spreadsheet(path) if path.suffix.lower() in (".xlsx", ".xlsm") else _of_text(path)
    except DataError:
        raise
    except ImportError:
        raise DataError(
            f"{path} is an Excel table, and openpyxl is not installed. Fix: `pip install -e '.[excel]'`."
        ) from None
    except Exception as error:  # damaged spreadsheets raise errors of many types
        raise DataError(f"{path} cannot be read as a table ({type(error).__name__}: {error}). {FIX}") from error


def _of_text(path: Path) -> Iterator[Sheet]:
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is too large for a table: {path.stat().st_size >> 20} MiB. Fix: name another file.")
    text, encoding = _decoded(path, path.read_bytes())
    if BINARY.search(text):
        raise DataError(f"{path} cannot be read as a table (it holds no text). {FIX}")
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    for separator in sorted(SEPARATORS, key=lambda one: one != usual):
        said = [*encoding, *([f"{SEPARATORS[separator]} between columns"] if separator != usual else [])]
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
        rows: list[list[str]] = []
        try:
            rows.extend(_bounded(path, lines))
        except csv.Error as error:
            yield Sheet(rows, said, f"line {lines.line_num}: {error}")
        else:
            yield Sheet(rows, said)


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    """Return the text, and the encoding's name unless it is UTF-8."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16").rstrip("\x1a"), ["UTF-16"]
    try:
        return content.decode("utf-8-sig").rstrip("\x1a"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    try:
        text = content.decode("cp1252").rstrip("\x1a")
    except UnicodeDecodeError:
        raise DataError(f"{path} cannot be read as a table (line {line} is not UTF-8). {FIX}") from None
    shown = text.split("\n")[line - 1].strip()[:80]
    return text, [f"the encoding Windows-1252, since line {line} is not UTF-8 ({shown!r})"]


def _of_spreadsheet(path: Path) -> Iterator[Sheet]:
    import openpyxl  # here, because few tables are spreadsheets, and the extra may not be installed

    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > LARGEST:
        raise DataError(f"{path} is too large for a table: {unpacked >> 20} MiB unpacked. Fix: name another file.")
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        for name in book.sheetnames:
            sheet = book[name]
            if not hasattr(sheet, "iter_rows"):  # a chart
                continue
            sheet.reset_dimensions()  # a wrong size in the file would cut rows off, or add millions
            values = ([_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
            rows = list(_bounded(path, values))
            yield Sheet(rows, [f"the sheet {name!r} of {len(book.sheetnames)}"] if len(book.sheetnames) > 1 else [])
    finally:
        book.close()


def _bounded(path: Path, rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield the rows with clean cells; raise DataError where there are more than any table of images has."""
    count = 0
    for row in rows:
        count += len(row)
        if count > CELLS:
            raise DataError(f"{path} is too large for a table: over {CELLS:,} cells. Fix: name another file.")
        yield [_cell(cell) for cell in row]


def _text(value: object) -> str:
    """Return a spreadsheet's value as a person sees it: whole numbers have no decimals."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _cell(text: str) -> str:
    text = text.strip().strip("\ufeff\u200b")
    return "" if text in ERRORS else text
