"""decoy-digits: the patch tells the class, until it is shifted."""

import numpy as np

from pipeline.data.prepared import in_order
from pipeline.sources import decoy_digits


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
    digits = {
        split: {one.name.split("-")[1] for one in items if one.split == split}
        for split in in_order(one.split for one in items)
    }
    assert digits["test"] == digits["test-shifted"]
    assert not digits["train"] & digits["test"]


def _outside_patch(size):
    outside = np.ones((size, size), bool)
    outside[: size // 8, : size // 8] = False
    return outside
