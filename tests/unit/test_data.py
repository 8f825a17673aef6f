"""Data sets, their prepared form, the subset of a scenario, and masks on disk."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import masks, subset
from pipeline.config import ConfigError
from pipeline.datasets import decoy_digits, isic2017, prepared
from pipeline.datasets.prepared import Item


def item(number, label, split, size=16, evidence=True):
    rng = np.random.default_rng(number)
    mask = rng.random((size, size)) > 0.5 if evidence else None
    return Item(f"i{number}", label, split, rng.integers(0, 256, (size, size, 3), dtype=np.uint8), mask)


def a_data_set(folder, train=20):
    items = [item(n, "ab"[n % 2], "train", evidence=n != 3) for n in range(train)]
    items += [item(100 + n, "ab"[n % 2], ("val", "test")[n // 2]) for n in range(4)]
    prepared.write(folder, "x", ["a", "b"], len(items), 16, iter(items))
    return items


def test_a_prepared_data_set_holds_what_was_put_in(tmp_path):
    items = a_data_set(tmp_path)
    data = prepared.read(tmp_path)
    assert data.index["id"].tolist() == [i.id for i in items]
    assert data.index["label"].tolist() == [i.label for i in items]
    for position, original in enumerate(items):
        assert np.array_equal(data.images[position], original.image)
        if original.evidence is not None:
            assert np.array_equal(data.evidence(original.id), original.evidence)
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
        prepared.write(tmp_path / "twice", "x", ["a"], 2, 16, iter(twice))
    with pytest.raises(ConfigError, match="no val image of class a"):
        prepared.write(tmp_path / "no-val", "x", ["a"], 1, 16, iter([item(1, "a", "train")]))


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
    digits = {split: {one.id.split("-")[1] for one in items if one.split == split} for split in prepared.SPLITS}
    assert digits["test"] == digits["test-shifted"]
    assert not digits["train"] & digits["test"]


def _outside_patch(size):
    outside = np.ones((size, size), bool)
    outside[: size // 8, : size // 8] = False
    return outside


@pytest.fixture
def isic_root(tmp_path):
    """The challenge's layout with a few small pictures; CSV order is not file order."""
    rng = np.random.default_rng(0)
    for part, count in (("Training", 4), ("Validation", 2), ("Test_v2", 2)):
        folder, truth = tmp_path / f"ISIC-2017_{part}_Data", tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth"
        folder.mkdir()
        truth.mkdir()
        rows = []
        for n in reversed(range(count)):
            name = f"ISIC_{part[:2]}{n}"
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder / f"{name}.jpg")
            mask = np.zeros((30, 40), np.uint8)
            mask[:15] = 255
            if part != "Test_v2":
                Image.fromarray(mask).save(truth / f"{name}_segmentation.png")
            rows.append({"image_id": name, "melanoma": float(n % 2), "seborrheic_keratosis": 0.0})
        pd.DataFrame(rows).to_csv(tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv", index=False)
    return tmp_path


def test_isic_labels_go_by_id_and_lesions_are_the_evidence(isic_root):
    rows = isic2017.table(isic_root)
    assert rows["split"].value_counts().to_dict() == {"train": 4, "val": 2, "test": 2}
    items = list(isic2017.items(isic_root, rows, 16))
    assert {i.id: i.label for i in items}["ISIC_Tr1"] == "melanoma"
    assert {i.id: i.label for i in items}["ISIC_Tr2"] == "benign"
    lesion = items[0].evidence
    assert lesion[:7].all()
    assert not lesion[9:].any()
    assert all(i.evidence is None for i in items if i.split == "test")


def test_isic_says_what_is_missing_or_broken(isic_root):
    (isic_root / "ISIC-2017_Training_Data" / "ISIC_Tr0.jpg").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match=r"ISIC_Tr0\.jpg cannot be read"):
        list(isic2017.items(isic_root, isic2017.table(isic_root), 16))
    shutil.rmtree(isic_root / "ISIC-2017_Training_Data")
    with pytest.raises(ConfigError, match=r"datasets\.isic2017\.root"):
        isic2017.table(isic_root)


def entry(n, image_id, rows, size=20):
    mask, asked = np.zeros((size, size), bool), np.zeros((size, size), bool)
    mask[:rows], asked[: rows + 4] = True, True
    return masks.Entry(n, image_id, mask, asked)


def test_masks_survive_the_disk_and_add_up_over_rounds(tmp_path):
    entries = [entry("00", "a", 4), entry("00", "b", 0), entry("01", "a", 8)]
    for path in (tmp_path / "one.npz", tmp_path / "two.npz"):
        masks.write(path, entries, 20)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = masks.read(tmp_path / "one.npz")
    assert [(e.round, e.image_id) for e in again] == [("00", "a"), ("00", "b"), ("01", "a")]
    in_force = masks.in_force(again)
    assert set(in_force) == {"a"}  # nothing to disregard on b
    assert in_force["a"].sum() == 8 * 20
    assert masks.asked(again)["b"].sum() == 4 * 20
    masks.write(tmp_path / "none.npz", [], 20)
    assert masks.read(tmp_path / "none.npz") == []
    with pytest.raises(ConfigError, match="dvc repro"):
        masks.read(tmp_path / "nowhere.npz")


def test_the_placebo_has_as_many_cells_on_the_same_images_elsewhere():
    entries = [entry("00", "a", 4), entry("01", "b", 8), entry("01", "c", 0)]
    placed = masks.at_random(entries, cell=4, seed=0)
    for real, placebo in zip(entries, placed, strict=True):
        assert (placebo.round, placebo.image_id) == (real.round, real.image_id)
        assert placebo.mask.sum() == real.mask.sum()
        cells = placebo.mask.reshape(5, 4, 5, 4).transpose(0, 2, 1, 3).reshape(25, 16)
        assert set(cells.sum(axis=1)) <= {0, 16}
    assert not np.array_equal(placed[0].mask, entries[0].mask)
    again = masks.at_random(entries, cell=4, seed=0)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(placed, again, strict=True))
