"""Data sets, their prepared form, the subset of a scenario, and masks on disk."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import prepared, subset
from pipeline.data.prepared import Item
from pipeline.errors import ConfigError
from pipeline.feedback import masks
from pipeline.sources import decoy_digits


def item(number, label, split, size=16, evidence=True):
    rng = np.random.default_rng(number)
    mask = rng.random((size, size)) > 0.5 if evidence else None
    return Item(f"i{number}", label, split, rng.integers(0, 256, (size, size, 3), dtype=np.uint8), mask)


def a_data_set(folder, train=20):
    items = [item(n, "ab"[n % 2], "train", evidence=n != 3) for n in range(train)]
    items += [item(100 + n, "ab"[n % 2], ("val", "test")[n // 2]) for n in range(4)]
    write(folder, ["a", "b"], items)
    return items


def write(folder, classes, items):
    table = prepared.write_arrays(folder, len(items), 16, iter(items))
    return prepared.write_index(folder, "x", classes, table.assign(id=table["name"]))


def test_a_prepared_data_set_holds_what_was_put_in(tmp_path):
    items = a_data_set(tmp_path)
    data = prepared.read(tmp_path)
    assert data.index["id"].tolist() == [i.name for i in items]
    assert data.index["label"].tolist() == [i.label for i in items]
    for position, original in enumerate(items):
        assert np.array_equal(data.images[position], original.image)
        if original.evidence is not None:
            assert np.array_equal(data.evidence(original.name), original.evidence)
    with pytest.raises(ConfigError, match=r"'i3'.*annotate\.expert: human"):
        data.evidence("i3")
    assert isinstance(data.images, np.memmap)


def test_preparing_twice_is_the_same_bytes_and_other_data_another_digest(tmp_path):
    for folder, train in (("one", 20), ("two", 20), ("other", 22)):
        a_data_set(tmp_path / folder, train)
    digests = [prepared.read(tmp_path / folder).digest for folder in ("one", "two", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_what_is_not_whole_is_said_with_its_remedy(tmp_path):
    a_data_set(tmp_path / "data")
    (tmp_path / "data" / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="dvc repro"):
        prepared.read(tmp_path / "data")
    twice = [item(1, "a", "train"), item(1, "a", "train")]
    with pytest.raises(ConfigError, match="occur twice: i1"):
        write(tmp_path / "twice", ["a"], twice)
    with pytest.raises(ConfigError, match="no val image of class a"):
        write(tmp_path / "no-val", ["a"], [item(1, "a", "train")])


def test_ids_are_pseudonyms_and_copies_are_numbered():
    items = [item(n % 3, "a", "train") for n in range(4)]
    items = [Item(f"PATIENT-{n}", "a", "train", one.image, None, "Jane Doe") for n, one in enumerate(items)]
    with tempfile.TemporaryDirectory() as folder:
        table = prepared.write_arrays(Path(folder), 4, 16, items)
        ids = prepared.pseudonyms(table)
        assert ids[3] == f"{ids[0]}-2"
        assert ids.nunique() == 4
        rest = [
            Item(f"v{n}", "a", split, item(10 + n, "a", split).image, None) for n, split in enumerate(("val", "test"))
        ]
        table = prepared.write_arrays(Path(folder), 6, 16, [*items, *rest])
        manifest = prepared.write_index(Path(folder), "x", ["a"], table.assign(id=prepared.pseudonyms(table)))
        assert manifest["copies"] == [[ids[0], ids[3]]]
        text = (Path(folder) / "index.csv").read_text() + (Path(folder) / "manifest.json").read_text()
    assert "PATIENT" not in text
    assert "Jane" not in text


def test_equal_evidence_is_stored_once(tmp_path):
    centre = np.zeros((16, 16), bool)
    centre[4:12, 4:12] = True
    items = [item(n, "a", "train") for n in range(50)]
    items = [Item(i.name, "a", "train", i.image, centre if n % 10 else ~centre) for n, i in enumerate(items)]
    items += [item(100, "a", "val"), item(101, "a", "test", evidence=False)]
    write(tmp_path, ["a"], items)
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
from pipeline.datasets import prepared
from pipeline.datasets.prepared import Item
count = int(sys.argv[2])
rng = np.random.default_rng(0)
items = (Item(f"i{n}", "a", "train", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), rng.random((64, 64)) > 0.5)
         for n in range(count))
prepared.write_arrays(Path(sys.argv[1]), count, 64, items)
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


def test_fractions_are_stratified_nested_and_leave_other_splits_alone(tmp_path):
    a_data_set(tmp_path, train=100)
    data = prepared.read(tmp_path)
    chosen = {f: subset.choose(data, f, seed=0) for f in (0.1, 0.5, 1.0)}
    for fraction, rows in chosen.items():
        counts = rows[rows["split"] == "train"]["label"].value_counts()
        assert counts.to_dict() == {"a": round(50 * fraction), "b": round(50 * fraction)}
        assert (rows["split"] != "train").sum() == 4
    assert set(chosen[0.1]["id"]) < set(chosen[0.5]["id"]) < set(chosen[1.0]["id"])
    assert set(subset.choose(data, 0.1, seed=1)["id"]) != set(chosen[0.1]["id"])


def test_a_fraction_that_leaves_a_class_empty_names_it_and_one_that_does_not(tmp_path):
    a_data_set(tmp_path)
    with pytest.raises(ConfigError, match=r"no training image of class 'a'.*at least 0\.1"):
        subset.choose(prepared.read(tmp_path), 0.01, seed=0)


def test_subset_csv_gives_back_the_images_and_knows_its_data(tmp_path):
    a_data_set(tmp_path / "data")
    data = prepared.read(tmp_path / "data")
    chosen = subset.choose(data, 0.5, seed=0)
    path = tmp_path / "runs" / "subset.csv"
    subset.write(path, chosen, data)
    again = subset.read(path, data)
    images = subset.by_split(data, again)
    assert set(images) == {"train", "val", "test"}
    for i, image_id in enumerate(images["train"].ids):
        row = data.index.index[data.index["id"] == image_id][0]
        assert np.array_equal(images["train"].pixels[i], data.images[row])
        assert data.classes[int(images["train"].labels[i])] == data.index["label"][row]
    a_data_set(tmp_path / "data", train=22)
    with pytest.raises(ConfigError, match="chosen from other data"):
        subset.read(path, prepared.read(tmp_path / "data"))


def test_the_decoy_tells_the_class_until_it_is_shifted():
    items = list(decoy_digits.items(48))
    assert len(items) == decoy_digits.COUNT
    colours: dict[str, dict[tuple, set]] = {}
    for one in items:
        colour = tuple(one.image[0, 0].tolist())
        assert (one.image[:6, :6] == one.image[0, 0]).all()
        colours.setdefault(one.split, {}).setdefault(one.label, set()).add(colour)
        assert not one.evidence[:6, :6].any()  # the patch lies outside the evidence …
        assert not one.image[~one.evidence & _outside_patch(48)].any()  # … and all of the digit inside
    for split in ("train", "val", "test"):
        assert all(len(seen) == 1 for seen in colours[split].values())
        assert len(set.union(*colours[split].values())) == 10
    for split in ("val-shifted", "test-shifted"):
        assert all(len(seen) > 3 for seen in colours[split].values())
    digits = {split: {one.name.split("-")[1] for one in items if one.split == split} for split in prepared.SPLITS}
    assert digits["test"] == digits["test-shifted"]
    assert not digits["train"] & digits["test"]


def _outside_patch(size):
    outside = np.ones((size, size), bool)
    outside[: size // 8, : size // 8] = False
    return outside


def entry(n, image_id, rows, size=20):
    mask, asked = np.zeros((size, size), bool), np.zeros((size, size), bool)
    mask[:rows], asked[: rows + 4] = True, True
    return masks.Entry.of(n, image_id, mask, asked)


def test_masks_survive_the_disk_and_add_up_over_rounds(tmp_path):
    entries = [entry("00", "a", 4), entry("00", "b", 0), entry("01", "a", 8)]
    for path in (tmp_path / "one.npz", tmp_path / "two.npz"):
        masks.write(path, entries)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = masks.read(tmp_path / "one.npz")
    assert [(e.round, e.image_id) for e in again] == [("00", "a"), ("00", "b"), ("01", "a")]
    in_force = masks.in_force(again)
    assert set(in_force) == {"a"}  # nothing to disregard on b
    assert in_force["a"].sum() == 8 * 20
    assert masks.asked(again)["b"].sum() == 4 * 20
    masks.write(tmp_path / "none.npz", [])
    assert masks.read(tmp_path / "none.npz") == []
    with pytest.raises(ConfigError, match="dvc repro"):
        masks.read(tmp_path / "nowhere.npz")


def test_soft_masks_survive_the_disk_and_the_highest_of_all_rounds_counts(tmp_path):
    third, half, one = (entry(n, "a", rows) for n, rows in (("00", 8), ("01", 4), ("02", 2)))
    entries = [e.with_mask(w * e.mask) for e, w in ((third, 1 / 3), (half, 0.5), (one, 1))]
    masks.write(tmp_path / "soft.npz", entries)
    again = masks.read(tmp_path / "soft.npz")
    assert [e.mask.dtype for e in again] == [np.float32] * 3
    assert again[0].mask.max() == np.float32(1 / 3)
    column = masks.in_force(again)["a"][:, 0]
    np.testing.assert_allclose(column, [1] * 2 + [0.5] * 2 + [1 / 3] * 4 + [0] * 12)
