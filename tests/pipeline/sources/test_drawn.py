"""The data sets with a planted shortcut: what gives the class away, where it does, and where it misleads."""

import numpy as np
import pytest
from PIL import Image

from pipeline.config import DecoyMnist, Isic2017Patches
from pipeline.errors import ConfigError
from pipeline.sources import decoy_mnist, registry


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """MNIST's layout with few digits: 40 to train on, 20 to test."""
    monkeypatch.setattr(decoy_mnist, "VAL", 10)
    rng = np.random.default_rng(0)
    counts = {"train": 40, "test": 20}
    arrays = {f"x_{part}": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in counts.items()}
    arrays |= {f"y_{part}": np.arange(n, dtype=np.uint8) % 10 for part, n in counts.items()}
    np.savez(tmp_path / "mnist.npz", **arrays)
    return arrays, DecoyMnist(source="decoy-mnist", root=str(tmp_path / "mnist.npz"))


def corner_of(item):
    """The corner that all of one grey is in, and that grey."""
    greys = [np.unique(item.image[corner]) for corner in decoy_mnist.CORNERS]
    (found,) = [n for n, grey in enumerate(greys) if len(grey) == 1]
    return found, int(greys[found][0])


def test_the_square_tells_the_class_in_training_and_nothing_where_it_is_shifted(mnist):
    arrays, settings = mnist
    items = list(decoy_mnist.items(settings))
    splits = [item.split for item in items]
    assert {s: splits.count(s) for s in splits} == {
        "train": 30, "val": 10, "val-shifted": 10, "test": 20, "test-shifted": 20
    }  # fmt: skip
    told = {item.name: corner_of(item)[1] == 255 - 25 * int(item.label) for item in items}
    assert all(told[i.name] for i in items if "shifted" not in i.split)
    assert 0 < sum(told[i.name] for i in items if "shifted" in i.split) < 15
    assert len({corner_of(item)[0] for item in items}) == 4
    for item in items:
        part, number = item.name.removesuffix("-shifted").split("-")
        inside = item.evidence
        np.testing.assert_array_equal(
            item.image[inside], np.repeat(arrays[f"x_{part}"][int(number)][inside], 3).reshape(-1, 3)
        )
        assert (~item.evidence).sum() == 4 * 16
    again = list(decoy_mnist.items(settings))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(items, again, strict=True))


def test_missing_mnist_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match=r"mnist\.npz is not MNIST .*tf-keras-datasets/mnist\.npz is"):
        list(decoy_mnist.items(DecoyMnist(source="decoy-mnist", root=str(tmp_path / "mnist.npz"))))


@pytest.fixture
def isic(tmp_path):
    """The challenge's layout with grey pictures and a lesion in the middle."""
    lesion = np.zeros((64, 64), np.uint8)
    lesion[20:44, 20:44] = 255
    for part, count in (("Training", 60), ("Validation", 20), ("Test_v2", 12)):
        folder = tmp_path / f"ISIC-2017_{part}_Data"
        masks = tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth"
        folder.mkdir()
        masks.mkdir()
        lines = ["image_id,melanoma,seborrheic_keratosis"]
        for n in range(count):
            name = f"ISIC_{part[:2]}{n:04d}"
            grey = np.full((64, 64, 3), 90 + n, np.uint8)
            grey[0, 0] = len(part)
            Image.fromarray(grey).save(folder / f"{name}.jpg", quality=95)
            if part != "Test_v2":
                Image.fromarray(lesion).save(masks / f"{name}_segmentation.png")
            lines.append(f"{name},{int(n % 4 == 0)}.0,0.0")
        (tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    return Isic2017Patches(source="isic2017-patches", root=str(tmp_path), size=64)


def coloured(item):
    """Where a grey picture is not grey."""
    return np.ptp(item.image.astype(int), axis=2) > 40


def test_patches_mean_benign_in_training_and_nothing_where_they_are_on_all(isic):
    classes, count, found = registry.drawn(isic)
    items = list(found)
    assert classes == ["benign", "melanoma"]
    assert len(items) == count == 60 + 2 * 20 + 2 * 12
    patched = {item.name: bool(coloured(item).any()) for item in items}
    by_split = {
        (i.split, i.label): [patched[j.name] for j in items if (j.split, j.label) == (i.split, i.label)] for i in items
    }
    for split in ("train", "val"):
        assert 0.3 < np.mean(by_split[split, "benign"]) < 0.7
        assert not any(by_split[split, "melanoma"])
    for label in classes:
        assert not any(by_split["test", label])
        assert all(by_split["test-shifted", label])
        assert all(by_split["val-shifted", label])


def test_a_patch_lies_near_a_corner_off_the_lesion_and_leaves_the_rest_alone(isic):
    items = {item.name: item for item in registry.drawn(isic)[2]}
    for name, item in items.items():
        if coloured(item).any():
            assert (coloured(item) & (item.evidence if item.evidence is not None else False)).mean() < 0.02
            assert 0.005 < coloured(item).mean() < 0.15
        if item.split == "test-shifted":
            changed = (item.image != items[name.removesuffix("-shifted")].image).any(axis=2)
            assert (changed <= coloured(item)).mean() > 0.99
