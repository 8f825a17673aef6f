"""Tables of own images: contradictions between rows, names of files, and columns with blank cells."""

import numpy as np
import pytest
from fakes.sources import draw, labels, read
from PIL import Image

from pipeline.errors import DataError


@pytest.fixture
def own(tmp_path):
    """Four images, and a function that reads them with the lines of a table."""
    for n, name in enumerate("abcd"):
        draw(tmp_path / f"{name}.png", seed=n)

    def read_own(*lines, **more):
        (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
        return read(tmp_path, "folder", table="table.csv", **more)

    read_own.root = tmp_path
    return read_own


@pytest.mark.parametrize(
    ("column", "values"),
    [("split", ("train", "test")), ("group", ("p1", "p2")), ("mask", ("c.png", "d.png")), ("site", ("A", ""))],
)
def test_rows_of_one_image_that_differ_contradict_each_other(own, column, values):
    lines = [f"image,label,{column}", *[f"a.png,x,{value}" for value in values], f"b.png,y,{values[0]}"]
    more = {"attributes": ["site"]} if column == "site" else {}
    with pytest.raises(DataError, match=rf"1 ids have contradicting .*{column}.*\n.*a\.png: .*\(row 2\), .*\(row 3\)"):
        own(*lines, **more)


def test_two_names_of_one_file_are_one_image(own, capsys):
    found = own("image,label", "a.png,x", "a,x", "./b.png,y")
    assert labels(found) == {"a.png": "x", "./b.png": "y"}
    assert "repeats 1 rows; each row counts once" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"contradicting labels.*\n.*a\.png: x \(row 2\), y \(row 3\)"):
        own("image,label", "a.png,x", "a,y", "b,y")


def test_one_class_or_patient_in_two_spellings(own, capsys):
    assert own("image,label", "a,0", "b,0.0", "c,1", "d,1.0").classes == ["0", "1"]
    assert "'0.0' as '0'" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"1 groups are spelled in several ways.*\n  'P1' \(row 2\), 'p1' \(row 3\)"):
        own("image,label,group", "a,x,P1", "b,y,p1", "c,x,P2", "d,y,P3")
    with pytest.raises(DataError, match=r"1 sites are spelled in several ways"):
        own("image,label,site", "a,x,north", "b,y,North", attributes=["site"])


def test_a_mask_that_is_blank_in_some_rows_is_none(own):
    Image.fromarray(np.full((3, 4), 255, np.uint8)).save(own.root / "m.png")
    found = own("image,label,mask,group,split", "a,x,m.png,,train", "b,y,,p1,val", "c,x,,,test", "d,y")
    assert [row.mask and row.mask.name for row in found.rows] == ["m.png", None, None, None]
    assert [row.group for row in found.rows] == [None, "p1", None, None]
    assert [row.split for row in found.rows] == ["train", "val", "test", None]


def test_names_are_found_with_other_capitals_folders_and_separators(own, capsys):
    draw(own.root / "scans" / "17.JPG")
    draw(own.root / "scans" / "18.JPG", seed=9)
    found = own("image,label", "17.jpg,x", r"scans\18.JPG,y")
    assert [row.path.name for row in found.rows] == ["17.JPG", "18.JPG"]
    said = capsys.readouterr().out
    assert "1 names have other capital letters than their files:\n  17.jpg: " in said
    assert "left out 4 images without a label" in said
    assert "a.png" in said


def test_images_that_are_there_are_named_when_no_id_fits(own):
    with pytest.raises(DataError, match=r"The first ids are 1, 2; the first images are a\.png, b\.png, c\.png\."):
        own("image,label", "1,x", "2,y")


def test_files_that_are_no_images_by_extension_are_named(own, capsys):
    (own.root / "17.nii").write_bytes(b"x")
    own("image,label", "17,x", "a,x", "b,y")
    said = capsys.readouterr().out
    assert "names 1 files that are no images (1 .nii). Convert them to PNG or JPEG" in said
    assert "left out 1 ids of" in said


def test_a_column_that_the_settings_name_must_be_there(own, capsys):
    with pytest.raises(DataError, match="no column 'patient'"):
        own("image,label", "a,x", "b,y", columns={"group": "patient"})
    own("image,label,who,age", "a,x,p1,7", "b,y,p2,8", columns={"group": "who"})
    assert "table.csv: image in 'image', label in 'label', group in 'who'; not read: age" in capsys.readouterr().out
