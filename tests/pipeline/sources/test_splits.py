"""Splits: official ones kept, ours stratified and seeded; patients and copies never in two of them."""

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.sources import splits


def table(count, **columns):
    rows = pd.DataFrame({"name": [f"n{i}" for i in range(count)], "label": ["ab"[i % 4 == 0] for i in range(count)]})
    defaults = {"split": None, "group": None, "digest": [f"d{i}" for i in range(count)]}
    return rows.assign(**{**defaults, **columns})


def settle(rows, held_out=0.2, seed=0, duplicates="error"):
    return splits.settle(rows, rows["label"], held_out=held_out, seed=seed, duplicates=duplicates)


@pytest.mark.parametrize(("held_out", "train"), [(0.2, 160), (0.25, 150)])
def test_ours_are_stratified_halved_and_seeded(held_out, train):
    settled = settle(table(200), held_out=held_out)
    counts = settled.groupby("split").size()
    assert counts.to_dict() == {"train": train, "val": (200 - train) / 2, "test": (200 - train) / 2}
    shares = settled.assign(rare=settled["label"] == "b").groupby("split")["rare"].mean()
    assert ((shares - 0.25).abs() < 0.06).all()
    assert settled["split"].equals(settle(table(200), held_out=held_out)["split"])
    assert not settled["split"].equals(settle(table(200), held_out=held_out, seed=1)["split"])


@pytest.mark.parametrize("held_out", [0.05, 0.1, 0.15, 0.3, 0.35, 0.4, 0.45])
def test_any_share_is_held_out_and_not_the_next_fraction_of_one(held_out, capsys):
    settled = settle(table(400), held_out=held_out)
    held = settled["split"] != "train"
    assert held.mean() == pytest.approx(held_out, abs=0.01)
    rare = settled.assign(rare=settled["label"] == "b").groupby("split")["rare"].mean()
    assert ((rare - 0.25).abs() < 0.06).all()
    assert capsys.readouterr().out == ""


def test_a_share_that_groups_do_not_allow_is_named(capsys):
    settle(table(50, group=[f"p{i // 10}" for i in range(50)]), held_out=0.5)
    assert "0% of the images are held out, not 50%, to keep groups whole" in capsys.readouterr().out


def test_few_images_are_split_as_well_as_they_can(capsys):
    settled = settle(table(8), held_out=0.4)
    assert (settled["split"] == "train").sum() in (4, 5)


def test_a_rare_class_is_no_warning_of_a_library(recwarn):
    labels = ["common"] * 30 + ["rare"]
    settle(table(31, label=labels))
    assert not recwarn.list


def test_groups_and_copies_stay_together_however_they_are_tied():
    groups = [f"patient {i // 3}" if i % 2 else None for i in range(300)]
    digests = [f"d{i % 290}" for i in range(300)]  # ten pictures occur twice
    settled = settle(table(300, group=groups, digest=digests))
    assert settled.groupby("group")["split"].nunique().max() == 1
    assert settled.groupby("digest")["split"].nunique().max() == 1
    assert set(settled["split"]) == {"train", "val", "test"}


def test_a_patient_in_two_official_splits_is_named():
    official = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    groups = ["p1", "p1", "p2", None, None, None, "p2", "p3", "p4", None]
    with pytest.raises(DataError, match=r"1 groups.*\n  p2: train, val"):
        settle(table(10, split=official, group=groups))


def test_copies_in_two_official_splits_are_an_error_or_dropped_where_they_are_not_tested():
    official = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    digests = ["x", "y", "y", "d", "e", "z", "z", "f", "x", "g"]
    rows = table(10, split=official, digest=digests)
    with pytest.raises(DataError, match=r"2 images are in more than one split") as error:
        settle(rows)
    assert "n0 (train), n8 (test)" in str(error.value)
    assert "duplicates: drop" in str(error.value)
    kept = settle(rows, duplicates="drop")
    assert sorted(set(rows["name"]) - set(kept["name"])) == ["n0", "n5"]


def test_some_splits_but_not_all_is_an_error():
    with pytest.raises(DataError, match=r"1 of 3 images have no split.*\n  n2"):
        settle(table(3, split=["train", "val", None]))


def test_too_few_to_split_is_an_error():
    with pytest.raises(DataError, match="too few"):
        settle(table(3))


def test_further_held_out_splits_keep_their_names_and_are_told(capsys):
    rows = table(6).assign(split=["train", "train", "val", "test", "test-site-b", "test-site-b"])
    assert settle(rows)["split"].tolist() == rows["split"].tolist()
    assert "split test-site-b: 2 images, which are only evaluated" in capsys.readouterr().out
    copied = rows.assign(digest=[*"abcd", "a", "f"])
    assert settle(copied, duplicates="drop")["split"].tolist() == ["train", "val", "test", "test-site-b", "test-site-b"]


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("Train", "train"),
        ("validation", "val"),
        ("TESTING", "test"),
        ("Test_Site B", "test-site-b"),
        ("training_set", "train"),
        ("TestSet", "test"),
        ("val data", "val"),
        ("dataset", None),
        ("val-shifted", "val-shifted"),
        ("tset", None),
        ("train-2", None),
        ("test-", None),
    ],
)
def test_a_word_for_a_split_is_known_or_refused(word, split):
    assert splits.named(word) == split
