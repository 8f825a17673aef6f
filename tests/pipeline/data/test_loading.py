"""From the array to augmented batches: in order, and the same on any thread."""

import numpy as np
import pytest
import torch

from pipeline.config import Augment
from pipeline.data.augmentation import DRAWS, augmented
from pipeline.data.loading import Rows, as_tensor, batches

EVERYTHING = Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1)
CPU = torch.device("cpu")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def make(pixels, chosen, draws, device=CPU):
    return batches(pixels, chosen=chosen, draws=draws, settings=EVERYTHING, device=device)


def test_batches_come_in_order_and_are_the_same_however_they_are_cut(pixels):
    draws = torch.rand(12, DRAWS)
    rows = Rows(pixels, np.arange(12)[::-1])
    whole = torch.cat(list(make(rows, [list(range(12))], [draws])))
    parts = [[0, 1, 2], [3, 4, 5, 6], [], [7], [8, 9, 10, 11]]
    cut = list(make(rows, parts, [draws[part] for part in parts]))
    assert [len(batch) for batch in cut] == [3, 4, 0, 1, 4]
    assert torch.equal(torch.cat(cut), whole)
    assert torch.equal(whole, augmented(as_tensor(pixels[::-1]), draws, EVERYTHING))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_batches(pixels):
    draws = torch.rand(12, DRAWS)
    (there,) = make(pixels, [list(range(12))], [draws], torch.device("cuda"))
    assert there.is_cuda
    assert torch.allclose(there.cpu(), augmented(as_tensor(pixels), draws, EVERYTHING), atol=1e-4)


def test_a_file_that_cannot_be_read_stops_the_epoch(pixels):
    class Broken(Rows):
        def __getitem__(self, some):
            raise OSError("the disk is gone")

    broken = Broken(pixels, np.arange(12))
    with pytest.raises(OSError, match="the disk is gone"):
        list(make(broken, [[0], [1]], [torch.rand(1, DRAWS)] * 2))


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
        made = make(Watched(), [[0], [1, 2]], [torch.rand(1, DRAWS), torch.rand(2, DRAWS)])
        assert [len(batch) for batch in made] == [1, 2]
        assert teams == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
