"""folder with findings: columns of 0 and 1, or names in one column, and each mistake named with its rows."""

import pandas as pd
import pytest
from fakes import findings
from fakes.sources import edit, labels, read, settings

from pipeline.data import prepared
from pipeline.errors import DataError
from pipeline.sources import preparing


def table_of(root):
    return root / "findings.csv"


@pytest.fixture
def own(tmp_path):
    findings.write_images(tmp_path, count=16)
    return tmp_path


@pytest.fixture
def chest(own):
    """The same images with their findings in one column, as NIH's ChestX-ray14 has them."""

    def named(table):
        names = [[f for f in findings.FINDINGS if row[f] == "1"] for _, row in table.iterrows()]
        return table[["image"]].assign(label=["|".join(found) or "No Finding" for found in names])

    edit(table_of(own), named)
    return own


def read_own(root, **more):
    return read(root, "folder", table="findings.csv", findings=findings.FINDINGS, **more)


def test_a_column_for_each_finding(own, capsys):
    found = read_own(own)
    assert found.findings
    assert found.classes == ["disk", "bar"]
    assert list(labels(found).values())[:4] == ["disk", "bar", "", "disk|bar"]
    edit(table_of(own), lambda t: t.assign(disk=t["disk"] + ".0"))  # as ISIC 2017 writes them
    assert labels(read_own(own)) == labels(found)
    said = capsys.readouterr().out
    assert "findings in 'disk', 'bar'" in said
    assert "not read" not in said


def test_the_names_of_all_findings_in_one_column(chest, own):
    by_name = read_own(chest, separator="|")
    assert list(labels(by_name).values())[:4] == ["disk", "bar", "", "disk|bar"]
    edit(table_of(chest), lambda t: t.assign(label=t["label"].str.replace("disk|bar", "bar ; disk", regex=False)))
    assert labels(read_own(chest, separator=";")) == labels(by_name), "in any order, with spaces"


def test_one_finding_is_a_task(own):
    found = read(own, "folder", table="findings.csv", findings=["bar"])
    assert set(labels(found).values()) == {"", "bar"}


def cell(column, value):
    return lambda root: edit(table_of(root), lambda t: t.assign(**{column: [value, *t[column][1:]]}))


MISTAKES = {
    "an empty cell": (
        cell("disk", None),
        findings.FINDINGS,
        r"1 rows have no 0 or 1 in 'disk'\. Fix: fill in these rows:\n  row 2",
    ),
    "an uncertain finding": (
        cell("disk", "-1"),
        findings.FINDINGS,
        r"1 values of 'disk' are not among 0, 1\..*:\n  images/000.png",
    ),
    "a word": (cell("bar", "yes"), findings.FINDINGS, "1 values of 'bar' are not among 0, 1"),
    "a fraction": (cell("bar", "0.5"), findings.FINDINGS, "1 values of 'bar' are not among 0, 1"),
    "a column that is missing": (lambda root: None, ["disk", "box"], "has no column 'box'"),
}
MISTAKES_IN_NAMES = {
    "an empty cell": (None, r"1 rows have no label\. Fix: fill in these rows:\n  row 2"),
    "an unknown finding": ("disk|box", r"row 2: 'disk\|box' has 'box', which is none of `findings`"),
    "another separator": ("disk;bar", "'disk;bar', which is none of `findings`"),
    "an empty name": ("disk||bar", "has an empty name"),
    "a contradiction": ("disk|No Finding", "has 'No Finding' beside a finding"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_column_is_named(own, mistake):
    change, names, message = MISTAKES[mistake]
    change(own)
    with pytest.raises(DataError, match=message):
        read(own, "folder", table="findings.csv", findings=names)


@pytest.mark.parametrize("mistake", MISTAKES_IN_NAMES)
def test_a_mistake_in_names_is_named(chest, mistake):
    value, message = MISTAKES_IN_NAMES[mistake]
    cell("label", value)(chest)
    with pytest.raises(DataError, match=message):
        read_own(chest, separator="|")


def test_a_separator_that_never_occurs_is_told(chest, capsys):
    edit(table_of(chest), lambda t: t[~t["label"].str.contains("|", regex=False)])
    read_own(chest, separator="|")
    assert "no row has the separator '|', so it is read as at most one finding an image" in capsys.readouterr().out


def prepare(root, folder, **more):
    return preparing.prepare(
        "x", settings(root, "folder", table="findings.csv", findings=findings.FINDINGS, **more), folder
    )


def test_the_prepared_data_set_keeps_all_findings(tmp_path):
    table = findings.write_images(tmp_path / "raw", count=60)
    manifest, originals = prepare(tmp_path / "raw", tmp_path / "prepared")
    data = prepared.read(tmp_path / "prepared")
    assert data.findings
    assert sum(manifest["counts"][split]["bar"] for split in manifest["counts"]) == table["bar"].sum()
    name_of = dict(zip(originals["id"], originals["name"], strict=True))
    row = table.set_index("image")
    for image_id, label in zip(data.index["id"], data.index["label"], strict=True):
        assert [int(f in label.split("|")) for f in findings.FINDINGS] == row.loc[
            name_of[image_id], findings.FINDINGS
        ].tolist()


def test_a_finding_that_a_split_lacks_is_named_and_so_is_one_that_all_images_have(tmp_path):
    findings.write_images(tmp_path / "raw", count=30)
    split = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    edit(
        table_of(tmp_path / "raw"),
        lambda t: t.assign(split=split, disk=["0" if s == "val" else d for s, d in zip(split, t["disk"], strict=True)]),
    )
    with pytest.raises(DataError, match=r"no val image with the finding disk; there are \d train, \d test"):
        prepare(tmp_path / "raw", tmp_path / "prepared")
    edit(
        table_of(tmp_path / "raw"),
        lambda t: t.assign(disk=["1" if s == "val" else str(n % 2) for n, s in enumerate(split)]),
    )
    with pytest.raises(DataError, match="no val image without the finding disk"):
        prepare(tmp_path / "raw", tmp_path / "prepared")


def test_drawn_splits_have_each_finding_at_its_share(tmp_path):
    findings.write_images(tmp_path / "raw", count=80)
    edit(table_of(tmp_path / "raw"), lambda t: t.assign(disk=["1" if n % 10 == 0 else "0" for n in range(80)]))
    manifest, _ = prepare(tmp_path / "raw", tmp_path / "prepared", held_out=0.5)
    assert {split: counts["disk"] for split, counts in manifest["counts"].items()} == {"train": 4, "val": 2, "test": 2}


def test_images_that_contradict_themselves_are_named(own):
    edit(table_of(own), lambda t: pd.concat([t, t[:1].assign(bar="1")]))
    with pytest.raises(DataError, match=r"contradicting labels.*\n  .*disk \(row 2\), disk\|bar \(row 18\)"):
        read_own(own)
