"""Tables: a spreadsheet needs its library, and a damaged table is named."""

import sys

import pytest

from pipeline.errors import DataError
from pipeline.sources import tables


def test_a_spreadsheet_without_openpyxl_names_the_extra(tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "labels.xlsx"
    openpyxl.Workbook().save(path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"labels\.xlsx is an Excel table.*Fix: `pip install -e '\.\[excel\]'`"):
        tables.read(path, ["image"], "put it there")


def test_a_file_that_is_no_table_is_named_with_its_remedy(tmp_path):
    (tmp_path / "old.xls").write_bytes(bytes([0xD0, 0xCF, 0x11, 0xE0, 0xA1]))
    with pytest.raises(DataError, match=r"old\.xls cannot be read as a table.*save it as \.xlsx, or as CSV in UTF-8"):
        tables.read(tmp_path / "old.xls", ["image"], "put it there")
