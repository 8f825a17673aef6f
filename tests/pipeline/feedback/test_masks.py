"""Masks on disk: the same bytes, and the union over rounds."""

import numpy as np
import pytest

from pipeline.errors import DamagedFileError
from pipeline.feedback import masks


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
    with pytest.raises(DamagedFileError, match="dvc repro"):
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


def test_evidence_replaces_the_marks_of_earlier_rounds(tmp_path):
    evidence = np.zeros((20, 20), bool)
    evidence[:6] = True
    whole = np.ones((20, 20), bool)
    entries = [
        entry("00", "a", 4),
        entry("00", "b", 4),
        masks.Entry.of("01", "a", ~evidence, whole, kind="evidence"),
        masks.Entry.of("01", "b", ~whole, whole, kind="evidence"),  # the evidence is everywhere
    ]
    masks.write(tmp_path / "masks.npz", entries)
    again = masks.read(tmp_path / "masks.npz")
    assert again == entries
    for found in (masks.in_force(again), masks.marked(again)):
        assert set(found) == {"a"}
        np.testing.assert_array_equal(found["a"], ~evidence)
    assert set(masks.in_force(again[:2])) == {"a", "b"}
    assert masks.asked(again)["a"].all()


def test_an_answer_holds_on_each_copy_of_its_picture():
    """Ids are digests, numbered for copies; the copy without a number need not be the one that was asked."""
    one, other = "0123456789ab", "ba9876543210"
    found = masks.in_force([entry("00", f"{one}-2", 4), entry("00", other, 8), entry("00", "own-name", 2)])
    ids = [one, f"{one}-2", f"{one}-3", other, "ffffffffffff-2", "own-name", "own-name-2", "own"]
    everywhere = masks.on_copies(found, ids)
    assert {i: everywhere[i].sum() / 20 for i in ids if i in everywhere} == {
        one: 4, f"{one}-2": 4, f"{one}-3": 4, other: 8, "own-name": 2
    }  # fmt: skip
    assert len(everywhere) == 5
    assert masks.on_copies(found, [f"{one}-2", other]) is found
