"""From the array to augmented batches: exact where nothing is drawn, the same on any thread."""

import numpy as np
import pytest
import torch

from pipeline.config import Augment
from pipeline.data.loading import DRAWS, Rows, as_tensor, augmented, batches

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


def test_batches_come_in_order_and_are_the_same_however_they_are_cut(pixels):
    draws = torch.rand(12, DRAWS)
    rows = Rows(pixels, np.arange(12)[::-1])
    device = torch.device("cpu")
    whole = torch.cat(list(batches(rows, [list(range(12))], [draws], EVERYTHING, device)))
    parts = [[0, 1, 2], [3, 4, 5, 6], [], [7], [8, 9, 10, 11]]
    cut = list(batches(rows, parts, [draws[part] for part in parts], EVERYTHING, device))
    assert [len(batch) for batch in cut] == [3, 4, 0, 1, 4]
    assert torch.equal(torch.cat(cut), whole)
    assert torch.equal(whole, augmented(as_tensor(pixels[::-1]), draws, EVERYTHING))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_batches(pixels):
    draws = torch.rand(12, DRAWS)
    (there,) = batches(pixels, [list(range(12))], [draws], EVERYTHING, torch.device("cuda"))
    assert there.is_cuda
    assert torch.allclose(there.cpu(), augmented(as_tensor(pixels), draws, EVERYTHING), atol=1e-4)


def test_a_file_that_cannot_be_read_stops_the_epoch(pixels):
    class Broken(Rows):
        def __getitem__(self, some):
            raise OSError("the disk is gone")

    broken = Broken(pixels, np.arange(12))
    with pytest.raises(OSError, match="the disk is gone"):
        list(batches(broken, [[0], [1]], [torch.rand(1, DRAWS)] * 2, EVERYTHING, torch.device("cpu")))


def test_making_batches_leaves_the_cores_to_training(pixels):
    class Watched:
        def __len__(self):
            return len(pixels)

        def __getitem__(self, some):
            teams.append(torch.get_num_threads())
            return pixels[some]

    teams, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = batches(
            Watched(), [[0], [1, 2]], [torch.rand(1, DRAWS), torch.rand(2, DRAWS)], EVERYTHING, torch.device("cpu")
        )
        assert [len(batch) for batch in made] == [1, 2]
        assert teams == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
