"""The prepared form of a data set: it holds the sources' images, the same bytes each time, and damage is named."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fakes.data_set import SIZE, item, prepare_data_set, prepare_items

from pipeline.data import prepared
from pipeline.data.prepared import Item, in_order
from pipeline.errors import ConfigError, DamagedFileError, DataError


def test_a_prepared_data_set_holds_what_was_put_in(tmp_path):
    items = prepare_data_set(tmp_path)
    data = prepared.read(tmp_path)
    assert data.index["id"].tolist() == [i.name for i in items]
    assert data.index["label"].tolist() == [i.label for i in items]
    for position, original in enumerate(items):
        assert np.array_equal(data.images[position], original.image)
        if original.evidence is not None:
            assert np.array_equal(data.evidence(original.name), original.evidence)
    assert data.known_evidence("i3") is None
    with pytest.raises(ConfigError, match=r"image 'i3' of .* has no evidence mask"):
        data.evidence("i3")
    data.index["evidence"] = pd.NA
    with pytest.raises(ConfigError, match=r"no image of .*annotate\.expert: human"):
        data.known_evidence("i0")
    assert isinstance(data.images, np.memmap)


def test_splits_are_told_from_readings_and_put_in_order():
    names = ["test-b", "val-shifted_balanced", "val_balanced", "train", "val-shifted", "test", "test-", "x", "val"]
    assert in_order(names) == ["train", "val", "val-shifted", "test", "test-b"]


def test_preparing_twice_is_the_same_bytes_and_other_data_another_digest(tmp_path):
    for folder, train in (("one", 20), ("two", 20), ("other", 22)):
        prepare_data_set(tmp_path / folder, train)
    digests = [prepared.read(tmp_path / folder).digest for folder in ("one", "two", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_what_is_not_whole_is_said_with_its_remedy(tmp_path):
    prepare_data_set(tmp_path / "data")
    (tmp_path / "data" / "manifest.json").unlink()
    with pytest.raises(DamagedFileError, match="dvc repro"):
        prepared.read(tmp_path / "data")
    prepare_data_set(tmp_path / "fewer")
    np.save(tmp_path / "fewer" / "images.npy", np.zeros((3, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(DamagedFileError, match=r"images that images\.npy does not have.*prepare@fewer"):
        prepared.read(tmp_path / "fewer")
    twice = [item(1, "a", "train"), item(1, "a", "train")]
    with pytest.raises(DataError, match=r"1 ids occur twice.*\n  i1"):
        prepare_items(tmp_path / "twice", ["a"], twice)
    with pytest.raises(DataError, match="no val image of class a"):
        prepare_items(tmp_path / "no-val", ["a"], [item(1, "a", "train")])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("evidence.npy", lambda content: content[:20]),
        ("evidence.npy", lambda content: content.replace(b"|u1", b"|O8")),
        ("images.npy", lambda content: content.replace(b"|u1", b"|i1")),
        ("index.csv", lambda content: content.replace(b"split", b"splat", 1)),
        ("index.csv", lambda content: content.replace(b",a,", b",c,", 1)),
        ("index.csv", lambda content: content.replace(b"i1,", b"i0,", 1)),
        ("manifest.json", lambda content: b"[" * 10_000),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, change):
    prepare_data_set(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(DamagedFileError, match="Fix: "):
        prepared.read(tmp_path).evidence("i1")


def test_ids_are_pseudonyms_and_copies_are_numbered(tmp_path):
    items = [item(n % 3, "a", "train") for n in range(4)]
    items = [Item(f"PATIENT-{n}", "a", "train", one.image, None, "Jane Doe") for n, one in enumerate(items)]
    table = prepared.write_arrays(tmp_path, count=4, size=SIZE, items=items)
    ids = prepared.pseudonyms(table)
    assert ids[3] == f"{ids[0]}-2"
    assert ids.nunique() == 4
    rest = [Item(f"v{n}", "a", split, item(10 + n, "a", split).image, None) for n, split in enumerate(("val", "test"))]
    table = prepared.write_arrays(tmp_path, count=6, size=SIZE, items=[*items, *rest])
    table = table.assign(id=prepared.pseudonyms(table))
    manifest = prepared.write_index(tmp_path, name="x", classes=["a"], table=table)
    assert manifest["copies"] == [[ids[0], ids[3]]]
    text = (tmp_path / "index.csv").read_text() + (tmp_path / "manifest.json").read_text()
    assert "PATIENT" not in text
    assert "Jane" not in text


def test_equal_evidence_is_stored_once(tmp_path):
    centre = np.zeros((16, 16), bool)
    centre[4:12, 4:12] = True
    items = [item(n, "a", "train") for n in range(50)]
    items = [Item(i.name, "a", "train", i.image, centre if n % 10 else ~centre) for n, i in enumerate(items)]
    items += [item(100, "a", "val"), item(101, "a", "test", evidence=False)]
    prepare_items(tmp_path, ["a"], items)
    assert len(np.load(tmp_path / "evidence.npy")) == 3
    data = prepared.read(tmp_path)
    for one in items[:-1]:
        assert np.array_equal(data.evidence(one.name), one.evidence)


def test_many_images_need_the_memory_of_few(tmp_path):
    """Peak memory of preparing is the same for 20 times as many images; the array lies on disk."""
    code = """
import resource, sys
import numpy as np
from pathlib import Path
from pipeline.data import prepared
from pipeline.data.prepared import Item
count = int(sys.argv[2])
rng = np.random.default_rng(0)
items = (Item(f"i{n}", "a", "train", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), rng.random((64, 64)) > 0.5)
         for n in range(count))
prepared.write_arrays(Path(sys.argv[1]), count=count, size=64, items=items)
anonymous = [line for line in open("/proc/self/status") if line.startswith(("RssAnon", "VmHWM"))]
print(next(int(line.split()[1]) for line in anonymous if line.startswith("RssAnon")))
"""
    used = []
    for count in (500, 10_000):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(count)), str(count)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        used.append(int(done.stdout) * 1024)
    pictures = 9_500 * (64 * 64 * 3 + 64 * 8)
    assert used[1] - used[0] < 0.2 * pictures, "pictures are kept in memory"
