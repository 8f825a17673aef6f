"""Near-duplicates are found, each pair once; other pictures of the same kind are not."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.screening import duplicates, pictures

SIZE = 64
RNG = np.random.default_rng(0)


def scene():
    """A round picture on black, as of a microscope or an eye, with soft spots."""
    y, x = np.mgrid[:SIZE, :SIZE]
    light = 150.0 * ((x - 32) ** 2 + (y - 32) ** 2 < 30**2)
    for _ in range(8):
        cx, cy, size = *RNG.uniform(10, 54, 2), RNG.uniform(3, 9)
        light *= 1 - 0.7 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size**2)
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)


def small(scenes):
    return pictures._read(np.stack(scenes))[1]


def digests(count):
    return pd.Series([f"{n:012d}" for n in range(count)])


def compressed(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def test_changed_copies_are_found_and_other_scenes_are_not():
    scenes = [scene() for _ in range(60)]
    warmer = np.clip(scenes[3] * np.array([1.0, 0.8, 0.7]) + 9, 0, 255).astype(np.uint8)
    cut = scenes[5].copy()
    cut[:, :2] = 0
    found, is_all = duplicates.pairs(small([*scenes, warmer, compressed(scenes[4]), cut]), digests(63))
    assert sorted(map(tuple, found.tolist())) == [(3, 60), (4, 61), (5, 62)]
    assert is_all


def test_equal_pictures_are_a_pair_even_where_nothing_can_be_compared():
    black = np.zeros((2, 16, 16), np.float32)
    assert duplicates.pairs(black, pd.Series(["a", "a"]))[0].tolist() == [[0, 1]]
    assert duplicates.pairs(black, pd.Series(["a", "b"]))[0].tolist() == []
    assert duplicates.pairs(black[:0], pd.Series([], dtype=str))[0].shape == (0, 2)


def test_pairs_of_distant_pictures_are_found(monkeypatch):
    monkeypatch.setattr(duplicates, "AT_ONCE", 7)
    scenes = [scene() for _ in range(30)]
    found, _ = duplicates.pairs(small([*scenes, *scenes[::-1]]), digests(60))
    assert sorted(map(tuple, found.tolist())) == [(n, 59 - n) for n in range(30)]


def test_a_film_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST", 50)
    found, is_all = duplicates.pairs(np.ones((40, 16, 16), np.float32), pd.Series(["a"] * 40))
    assert (len(found), is_all) == (50, False)
