"""folder: any table or folder tree of images, and each mistake in it named with its rows."""

import pandas as pd
import pytest
from fakes.sources import draw, edit, labels, read
from PIL import Image

from pipeline.errors import DataError


@pytest.fixture
def own(tmp_path):
    """A table with every column, under names of the user's own."""
    rows = []
    for n in range(6):
        draw(tmp_path / "scans" / f"{n:03}.png", seed=n)
        Image.new("L", (4, 3), 255).save(tmp_path / f"where{n}.png")
        image = f"scans/{n:03}.png" if n % 2 else f"{n:03}"  # a path, or a name: leading zeros matter
        rows.append(
            {
                "file": image,
                "finding": "ab"[n % 2],
                "part": ["train", "Val", "test"][n // 2],
                "who": f"p{n // 2}",
                "where": f"where{n}.png",
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "findings.csv", index=False)
    return tmp_path


COLUMNS = {"image": "file", "label": "finding", "split": "part", "group": "who", "mask": "where"}


def read_own(root):
    return read(root, "folder", table="findings.csv", columns=COLUMNS)


def test_a_class_may_be_called_none(own):
    text = (own / "findings.csv").read_text().replace(",a,", ",None,").replace(",b,", ",NA,")
    (own / "findings.csv").write_text(text)
    assert read_own(own).classes == ["NA", "None"]


def test_any_table_will_do(own):
    found = read_own(own)
    assert found.classes == ["a", "b"]
    assert [row.split for row in found.rows] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert [row.path.name for row in found.rows] == [f"{n:03}.png" for n in range(6)]
    assert [row.group for row in found.rows] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert all(row.mask.is_file() for row in found.rows)
    bare = read(own, "folder", table="findings.csv", columns={"image": "file", "label": "finding"})
    assert {(row.split, row.group, row.mask) for row in bare.rows} == {(None, None, None)}


def in_own(**columns):
    return lambda folder: edit(folder / "findings.csv", lambda t: t.assign(**{k: v(t) for k, v in columns.items()}))


def first(value):
    return lambda column: lambda t: [value, *t[column][1:]]


OWN_MISTAKES = {
    "a blank label": (
        in_own(finding=first(None)("finding")),
        r"1 rows have no label\. Fix: fill in these rows:\n  row 2",
    ),
    "an unknown split": (
        in_own(part=first("holdout")("part")),
        r"not train, val or test, nor a .*\. Fix: correct these rows:\n  000: 'holdout'",
    ),
    "a path outside": (
        in_own(file=first("../secret.png")("file")),
        r"outside of the data folder.*\n  \.\./secret\.png",
    ),
    "a mask outside": (in_own(where=first("/etc/passwd")("where")), "leads out of the data folder"),
    "a missing mask": (
        in_own(where=first("gone.png")("where")),
        r"1 masks that do not exist\. Fix: correct their paths:\n  000: .*gone\.png",
    ),
    "another image's mask": (
        in_own(where=first("where1.png")("where")),
        r"given to several images.*\n  where1\.png: 000, scans",
    ),
    "one class": (in_own(finding=lambda t: "a"), "one class only, 'a'"),
    "two files of one name": (lambda f: draw(f / "other" / "000.png"), r"1 names fit several files"),
}


@pytest.mark.parametrize("mistake", OWN_MISTAKES)
def test_a_table_says_what_is_wrong_with_it(own, mistake):
    make, says = OWN_MISTAKES[mistake]
    make(own)
    with pytest.raises(DataError, match=says):
        read_own(own)


def test_a_link_out_of_the_folder_is_refused(own, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.png"
    draw(elsewhere)
    (own / "scans" / "link.png").symlink_to(elsewhere)
    in_own(file=first("scans/link.png")("file"))(own)
    with pytest.raises(DataError, match="outside of the data folder"):
        read_own(own)


def test_folders_named_after_classes_with_and_without_splits(tmp_path):
    for n, name in enumerate(("cat", "dog", "cat", "dog")):
        draw(tmp_path / "flat" / name / f"{n}.jpg", seed=n)
        for split in ("train", "valid", "test"):
            draw(tmp_path / "split" / split / name / f"{n}.png", seed=n)
    (tmp_path / "flat" / "cat" / "notes.txt").write_text("no image")
    flat, split = read(tmp_path / "flat", "folder"), read(tmp_path / "split", "folder")
    assert labels(flat) == {"cat/0.jpg": "cat", "cat/2.jpg": "cat", "dog/1.jpg": "dog", "dog/3.jpg": "dog"}
    assert {row.split for row in flat.rows} == {None}
    assert {row.split for row in split.rows} == {"train", "val", "test"}
    assert {row.label for row in split.rows} == {"cat", "dog"}
    with pytest.raises(DataError, match="no images in folders named after classes"):
        read(tmp_path / "flat" / "cat", "folder")
    with pytest.raises(DataError, match=r"is missing\. Fix: put the images there"):
        read(tmp_path / "nowhere", "folder")


def test_further_held_out_splits_and_attributes_come_from_the_table(own, tmp_path, capsys):
    in_own(
        part=lambda t: ["TRAIN", "training", "val", "Test", "test-site-b", "Test Site_B"],
        who=lambda t: None,
        site=lambda t: ["A", "A", "B", "", "B", "B"],
    )(own)
    found = read(own, "folder", table="findings.csv", columns=COLUMNS, attributes=["site"])
    assert [row.split for row in found.rows] == ["train", "train", "val", "test", "test-site-b", "test-site-b"]
    assert [row.attributes for row in found.rows] == [{"site": s} if s else {} for s in ("A", "A", "B", "", "B", "B")]
    with pytest.raises(DataError, match="no column 'device'; it has"):
        read(own, "folder", table="findings.csv", columns=COLUMNS, attributes=["device"])
    with pytest.raises(ValueError, match="an attribute cannot be called 'split'"):
        read(own, "folder", table="findings.csv", columns=COLUMNS, attributes=["split"])


def test_split_folders_go_by_any_case_and_none_is_taken_for_a_class(tmp_path):
    for split in ("Training", "Testing", "VAL", "test-site-b"):
        for name in ("normal", "pneumonia"):
            draw(tmp_path / "split" / split / name / "0.png", seed=len(split + name))
    found = read(tmp_path / "split", "folder")
    assert {row.split for row in found.rows} == {"train", "test", "val", "test-site-b"}
    assert found.classes == ["normal", "pneumonia"]
    draw(tmp_path / "split" / "holdout" / "normal" / "0.png")
    with pytest.raises(DataError, match=r"are splits \(.*Training.*\) beside 1 that are none.*\n  holdout"):
        read(tmp_path / "split", "folder")
    for name in ("test-negative", "test-positive"):
        draw(tmp_path / "classes" / name / "0.png", seed=len(name))
    assert read(tmp_path / "classes", "folder").classes == ["test-negative", "test-positive"]
