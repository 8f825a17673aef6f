"""Augmentation: exact where nothing is drawn, and each part does what its name says."""

import numpy as np
import pytest
import torch

from pipeline.config import Augment
from pipeline.data.augmentation import DRAWS, augmented
from pipeline.data.loading import as_tensor

OFF = Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0)
EVERYTHING = Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1)
MIDDLE = 0.5  # of a draw: no rotation, a centred crop, brightness as it is


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def draw(**places):
    """One image's draws: flips across and down, angle, area, place of the crop down and across, brightness."""
    names = ["across", "down", "angle", "area", "x", "y", "brightness"]
    return torch.tensor(
        [[places.get(name, 1.0 if name in names[:2] else 0.0 if name == "area" else MIDDLE) for name in names]]
    )


def test_augmentation_off_is_the_image_itself(pixels):
    images = as_tensor(pixels)
    assert torch.equal(augmented(images, torch.rand(12, DRAWS), OFF), images)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_each_augmentation_does_what_it_is_called(pixels):
    image = as_tensor(pixels[:1])
    assert torch.allclose(augmented(image, draw(), EVERYTHING), image, atol=1e-5)
    assert torch.allclose(augmented(image, draw(across=0.0), EVERYTHING), image.flip(3), atol=1e-5)
    assert torch.allclose(augmented(image, draw(down=0.0), EVERYTHING), image.flip(2), atol=1e-5)
    quarter = augmented(image, draw(angle=0.75), EVERYTHING)
    assert any(torch.allclose(quarter, image.rot90(k, (2, 3)), atol=1e-4) for k in (1, 3))
    assert torch.allclose(augmented(image, draw(brightness=0.0), EVERYTHING), 0.9 * image, atol=1e-5)
    assert torch.allclose(augmented(image, draw(brightness=1.0), EVERYTHING), (1.1 * image).clamp(max=1), atol=1e-5)


def test_a_crop_is_a_window_of_at_least_the_given_side():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    crop = EVERYTHING.model_copy(update={"crop": 0.25, "brightness": 0.0})
    left = augmented(ramp, draw(area=1.0, x=0.0), crop)
    right = augmented(ramp, draw(area=1.0, x=1.0), crop)
    assert float(left.min()) == pytest.approx(0, abs=0.02)
    assert float(left.max()) == pytest.approx(0.75, abs=0.02)
    assert float(right.min()) == pytest.approx(0.25, abs=0.02)


def test_flips_are_as_often_as_not_and_angles_go_all_the_way_round(pixels):
    images = as_tensor(pixels[:1]).expand(400, -1, -1, -1)
    flips = EVERYTHING.model_copy(update={"rotate_degrees": 0.0, "crop": 0.0, "brightness": 0.0})
    found = augmented(images, torch.rand(400, DRAWS, generator=torch.Generator().manual_seed(0)), flips)
    kinds = [images[0], images[0].flip(2), images[0].flip(1), images[0].flip(1, 2)]
    shares = [sum(torch.allclose(one, kind, atol=1e-5) for one in found) / 400 for kind in kinds]
    assert sum(shares) == 1
    assert all(0.17 < share < 0.33 for share in shares)
