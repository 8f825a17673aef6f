"""Tables: read as people export them, with a line that says how, or refused with the line that shows why."""

import subprocess
import sys
import zipfile

import pytest

from pipeline.errors import DataError
from pipeline.sources import sheets, tables


def read(path, content=None, columns=("image", "label"), optional=None):
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read(path, list(columns), "put it there", optional=optional)


def rows(table):
    return table.to_numpy().tolist()


PLAIN = [["a.png", "benign"], ["b.png", "malignant"]]


def test_a_spreadsheet_without_openpyxl_names_the_extra(tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "labels.xlsx"
    openpyxl.Workbook().save(path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"labels\.xlsx is an Excel table.*Fix: `pip install -e '\.\[excel\]'`"):
        read(path)


def test_a_file_that_is_no_table_is_named_with_its_remedy(tmp_path):
    for name, content in (("old.xls", b"\xd0\xcf\x11\xe0\xa1"), ("new.xlsx", b"PK no more"), ("zeros.csv", b"\0" * 9)):
        with pytest.raises(
            DataError, match=rf"{name} cannot be read as a table.*save it as \.xlsx, or as CSV in UTF-8"
        ):
            read(tmp_path / name, content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,label\na.png,benign\nb.png,malignant\n", None),
        ("image;label\na.png;benign\nb.png;malignant\n", "semicolons between columns"),
        ("image\tlabel\na.png\tbenign\nb.png\tmalignant\n", "tabs between columns"),
        ("\ufeffimage,label\r\na.png,benign\r\nb.png,malignant\r\n", None),
        ("image,label,\na.png,benign,\nb.png,malignant,\n", None),
        ("image,label\na.png,benign,\nb.png,malignant,\n", None),
        (",image,label\n0,a.png,benign\n1,b.png,malignant\n", None),
        ("image , label \na.png , benign\n\nb.png,malignant\n , \n", None),
        ("sep=;\nimage;label\na.png;benign\nb.png;malignant\n", "semicolons between columns, the header in row 2"),
        ("Findings of May\n\nimage,label\na.png,benign\nb.png,malignant\n", "the header in row 3"),
        ("Image,LABEL\na.png,benign\nb.png,malignant\n", "'Image' as 'image', 'LABEL' as 'label'"),
        ("image,label\na.png,benign\nb.png,malignant\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_table_is_read_as_people_export_it(tmp_path, capsys, content, said):
    assert rows(read(tmp_path / "x.csv", content)[["image", "label"]]) == PLAIN
    printed = capsys.readouterr().out
    assert printed == (f"{tmp_path}/x.csv: read with {said}\n" if said else "")


def test_the_index_is_the_row_of_a_spreadsheet(tmp_path):
    assert list(read(tmp_path / "x.csv", "image,label\na,b\n\nc,d\n").index) == [2, 4]


def test_another_encoding_is_named_with_the_line_that_shows_it(tmp_path, capsys):
    table = read(tmp_path / "x.csv", "image,label\na.png,naevus\nb.png,Nävus\n".encode("latin-1"))
    assert rows(table)[1] == ["b.png", "Nävus"]
    assert "the encoding Windows-1252, since line 3 is not UTF-8 ('b.png,Nävus')" in capsys.readouterr().out
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        read(tmp_path / "x.csv", b"image,label\n\x81,\x8d\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("image,label\na.png,be,nign\n", r"1 rows have more cells.*quotes.*\n  row 2: a\.png \| be \| nign"),
        ('image,label\n"a.png,benign\nb.png,malignant\n', r"line 3: unexpected end of data\)\. Fix: close each quote"),
        ("image,label,label\na,b,c\n", r"has 2 columns called 'label'\. Fix: rename all but one"),
        ("a.png,benign\nb.png,malignant\n", r"no column 'image', 'label'; it has 'a\.png', 'benign'\. Fix"),
        ("image;finding\na;b\n", r"no column 'label'; it has 'image', 'finding'"),
        ("", r"no column 'image', 'label'; it has no rows"),
        ("image,label\n,\n", "has no rows"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, content, why):
    with pytest.raises(DataError, match=why):
        read(tmp_path / "x.csv", content)


def test_a_column_that_need_not_be_there_is_found_with_other_capitals(tmp_path, capsys):
    table = read(tmp_path / "x.csv", "image,label,Split\na,b,train\n", optional=["split", "group"])
    assert list(table) == ["image", "label", "split"]
    assert "'Split' as 'split'" in capsys.readouterr().out


def book(path, **sheets_):
    openpyxl = pytest.importorskip("openpyxl")
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, cells in sheets_.items():
        sheet = made.create_sheet(name)
        for line in cells:
            sheet.append(line)
    made.save(path)
    return path


def test_the_sheet_with_the_columns_is_read_and_named(tmp_path, capsys):
    path = book(tmp_path / "x.xlsx", notes=[["by hand"]], data=[["image", "label"], [17, 1.0], ["#N/A", "b"]])
    assert rows(read(path)) == [["17", "1"], [None, "b"]]
    assert "read with the sheet 'data' of 2" in capsys.readouterr().out


def test_tables_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    path = book(tmp_path / "wide.xlsx", data=[["image", "label"], *[[None] * 3000 + ["x"]] * 9])
    monkeypatch.setattr(sheets, "CELLS", 20_000)
    with pytest.raises(DataError, match="over 20,000 cells"):
        read(path)
    with pytest.raises(DataError, match="over 20,000 cells"):
        read(tmp_path / "x.csv", "," * 30_000)
    monkeypatch.setattr(sheets, "LARGEST", 1 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * (2 << 20))
    with pytest.raises(DataError, match=r"wide\.xlsx is too large for a table: 2 MiB unpacked"):
        read(path)
    with pytest.raises(DataError, match="too large for a table: 1 MiB"):
        read(tmp_path / "x.csv", "image,label\n" + "a,b\n" * 300_000)


@pytest.mark.slow
def test_a_sparse_sheet_of_a_million_rows_is_read_at_once(tmp_path):
    path = book(tmp_path / "x.xlsx", data=[["image", "label"], ["a", "b"]])
    code = f"""if True:
        import openpyxl
        made = openpyxl.load_workbook({str(path)!r})
        made.active["XFD1048576"] = "far away"
        made.save({str(path)!r})
        from pipeline.sources import tables
        from pipeline.errors import DataError
        try:
            print(tables.read(__import__("pathlib").Path({str(path)!r}), ["image", "label"], "").shape)
        except DataError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "rows have more cells than the header" in done.stdout, done.stderr
