"""Properties of pictures measure what their names say."""

import numpy as np
import pytest
from fakes.data_set import prepare_items
from PIL import Image

from pipeline.data import prepared
from pipeline.data.prepared import Item
from pipeline.screening import pictures

SIZE = 16
GREY = np.full((SIZE, SIZE, 3), 120, np.uint8)


def changed(change):
    picture = GREY.astype(float).copy()
    change(picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def corners(picture):
    for y in (0, 1, -2, -1):
        for x in (0, 1, -2, -1):
            picture[y, x] = 0


def border(picture):
    picture[[0, 1, -2, -1]] = picture[:, [0, 1, -2, -1]] = 0


def stripes(picture):
    picture[:, ::2] += 40
    picture[:, 1::2] -= 40


def gentle(picture):
    picture += np.linspace(-43, 43, SIZE)[:, None, None]


def red(picture):
    picture[..., 0] += 60


def blue(picture):
    picture[..., 2] += 60


def lighter(picture):
    picture += 60


@pytest.fixture
def read(tmp_path):
    def read(*changes, sizes=None):
        items = [Item(f"i{n}", "ab"[n % 2], ("train", "val", "test")[n // 2], GREY, None) for n in range(6)]
        items += [
            Item(f"x{n}", "a", "train", changed(c), None, size=None if sizes is None else sizes[n])
            for n, c in enumerate(changes)
        ]
        if sizes is not None:
            items[:6] = [Item(i.name, i.label, i.split, i.image, None, size=(100, 100)) for i in items[:6]]
        prepare_items(tmp_path / "x", ["a", "b"], items)
        found, _ = pictures.properties(prepared.read(tmp_path / "x"))
        return {name: values[6:] - values[0] for name, values in found.items()}

    return read


def test_each_change_moves_its_own_property(read):
    changes = (lighter, corners, border, stripes, gentle, red, blue)
    found = read(*changes)
    assert found["brightness"][0] == pytest.approx(60, abs=0.5)
    assert found["dark corners"].tolist() == pytest.approx([0, 112.5, 52.5, 0, 0, 0, 0], abs=20)
    assert found["dark corners"][1] > 100
    assert found["dark corners"][2] > 40
    assert found["contrast"][3] > 35
    assert found["sharpness"][3] > 5 * found["sharpness"][4], "stripes are sharp, and a gentle slope is not"
    assert found["red to green"].tolist() == pytest.approx([0, 0, 0, 0, 0, 60, 0], abs=0.5)
    assert found["blue to yellow"].tolist() == pytest.approx([0, 0, 0, 0, 0, -30, 60], abs=0.5)
    assert "original size" not in found


def test_the_size_and_shape_of_the_original_are_properties(read):
    found = read(red, red, sizes=[(200, 100), (100, 200)])
    assert found["original size"].tolist() == [10_000, 10_000]
    assert found["original shape"].tolist() == [1, 1]


def test_every_property_has_a_question_for_experts(read):
    assert set(read(red, sizes=[(9, 9)])) == set(pictures.LOOKS)


@pytest.mark.parametrize("side", [16, 28, 224])
def test_small_pictures_are_means(side):
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    (found,) = pictures._read(picture[None])[1]
    assert found.shape == (16, 16)
    assert found.mean() == pytest.approx(np.asarray(Image.fromarray(picture).convert("L")).mean(), abs=2)
    if side == 224:
        grey = Image.fromarray(picture).convert("L").resize((16, 16), Image.Resampling.BOX)
        assert np.abs(found - np.asarray(grey, float)).max() < 1.5
