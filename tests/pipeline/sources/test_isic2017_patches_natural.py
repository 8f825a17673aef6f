"""isic2017-patches-natural: real patches go with benign lesions in training; held-out twins get patches nobody saw."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Isic2017PatchesNatural
from pipeline.errors import DataError
from pipeline.sources import isic2017_patches_natural

PATCH = np.zeros((48, 48), bool)
PATCH[:12, :12] = True
GREEN = (0, 255, 0)


@pytest.fixture
def isic(tmp_path, monkeypatch):
    """The challenge's layout: grey pictures; each fourth is benign, with a green patch in a corner."""
    wanted = {"DONORS": 4, "TRAIN": {"benign": 6, "melanoma": 6}, "CHECKED": 3, "TESTED": {"benign": 5, "melanoma": 5}}
    for name, value in wanted.items():
        monkeypatch.setattr(isic2017_patches_natural, name, value)
    patches = tmp_path / "artefact_masks" / "band_aid"
    patches.mkdir(parents=True)
    artefacts = ["image_id,hair,patches"]
    for part, count in (("Training", 40), ("Validation", 8), ("Test_v2", 8)):
        folder, masks = tmp_path / f"ISIC-2017_{part}_Data", tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth"
        folder.mkdir()
        masks.mkdir()
        labels = ["image_id,melanoma,seborrheic_keratosis"]
        for n in range(count):
            name, patched = f"ISIC_{part[:2]}{n:04d}", n % 4 == 0 and part != "Test_v2"
            picture = np.full((48, 48, 3), 90 + n, np.uint8)
            if patched:
                picture[PATCH] = GREEN
                Image.fromarray(PATCH).save(patches / f"{name}.png")
            Image.fromarray(picture).save(folder / f"{name}.jpg", quality=100, subsampling=0)
            if part != "Test_v2":
                lesion = np.zeros((48, 48), np.uint8)
                lesion[20:30, 20:30] = 255
                Image.fromarray(lesion).save(masks / f"{name}_segmentation.png")
            labels.append(f"{name},{int(n % 4 in (1, 3))}.0,0.0")
            artefacts.append(f"{name},0,{int(patched)}")
        (tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv").write_text("\n".join(labels) + "\n")
    (tmp_path / "artefacts.csv").write_text("\n".join(artefacts) + "\n")
    return Isic2017PatchesNatural(source="isic2017-patches-natural", root=str(tmp_path), size=48)


def has_patch(item):
    return bool((np.ptp(item.image.astype(int), axis=2) > 100).mean() > 0.04)


def test_real_patches_go_with_benign_in_training_and_are_on_every_twin(isic):
    source = isic2017_patches_natural.read(isic)
    items = list(source.items)
    assert len(items) == source.count
    counts = Counter((item.split, item.label, has_patch(item)) for item in items)
    assert counts == {
        ("train", "benign", True): 12 - 4,
        ("train", "benign", False): 6,
        ("train", "melanoma", False): 6,
        **{(split, label, False): n for split, n in (("val", 3), ("test", 5)) for label in source.classes},
        **{(f"{split}-shifted", label, True): n for split, n in (("val", 3), ("test", 5)) for label in source.classes},
    }
    assert all(item.evidence is not None for item in items if item.split == "train")
    again = list(isic2017_patches_natural.read(isic).items)
    assert all(np.array_equal(one.image, other.image) for one, other in zip(items, again, strict=True))


def test_a_twin_differs_from_its_image_on_the_patch_alone(isic):
    items = {item.name: item for item in isic2017_patches_natural.read(isic).items}
    twins = [name for name in items if name.endswith("-shifted")]
    assert len(twins) == 2 * (3 + 5)
    for name in twins:
        original = items[name.removesuffix("-shifted")]
        changed = (items[name].image != original.image).any(axis=2)
        assert changed.any()
        assert not changed[~PATCH].any()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("patches", "plaster"), "no column 'patches'"),
        (lambda text: text.replace("0,1\n", "0,yes\n"), "not among 0, 1"),
        (lambda text: text.replace("0,1\n", "0,0\n"), "0 images with a patch and a mask of it; 4 are needed"),
        (lambda text: "\n".join(text.split("\n")[:30]) + "\n", "more than 9 are needed"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(isic, tmp_path, change, says):
    table = tmp_path / "artefacts.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(DataError, match=says):
        isic2017_patches_natural.read(isic)


def test_a_missing_table_is_named(isic, tmp_path):
    (tmp_path / "artefacts.csv").unlink()
    with pytest.raises(DataError, match=r"artefacts.csv is missing. Fix: .*artefacts` in params.yaml"):
        isic2017_patches_natural.read(isic)
