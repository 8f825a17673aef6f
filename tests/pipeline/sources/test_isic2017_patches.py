"""isic2017-patches: patches mean benign in training, and nothing where all images have one."""

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Isic2017Patches
from pipeline.sources import isic2017_patches


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
    source = isic2017_patches.read(isic)
    items = list(source.items)
    assert source.classes == ["benign", "melanoma"]
    assert len(items) == source.count == 60 + 2 * 20 + 2 * 12
    patched = {item.name: bool(coloured(item).any()) for item in items}
    by_split = {
        (i.split, i.label): [patched[j.name] for j in items if (j.split, j.label) == (i.split, i.label)] for i in items
    }
    for split in ("train", "val"):
        assert 0.3 < np.mean(by_split[split, "benign"]) < 0.7
        assert not any(by_split[split, "melanoma"])
    for label in source.classes:
        assert not any(by_split["test", label])
        assert all(by_split["test-shifted", label])
        assert all(by_split["val-shifted", label])


def test_a_patch_lies_near_a_corner_off_the_lesion_and_leaves_the_rest_alone(isic):
    items = {item.name: item for item in isic2017_patches.read(isic).items}
    for name, item in items.items():
        if coloured(item).any():
            assert (coloured(item) & (item.evidence if item.evidence is not None else False)).mean() < 0.02
            assert 0.005 < coloured(item).mean() < 0.15
        if item.split == "test-shifted":
            changed = (item.image != items[name.removesuffix("-shifted")].image).any(axis=2)
            assert (changed <= coloured(item)).mean() > 0.99
