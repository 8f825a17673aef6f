"""Loading: from a memory-mapped array to augmented batches on the network's device, ahead of the training step.

A thread reads and augments the next batches while the network trains on the current batch. With an accelerator, images
travel as uint8 and are augmented there. All random numbers are drawn beforehand, so an epoch is the same for any number
of threads and processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.config import Augment
from pipeline.data.augmentation import augmented

AHEAD = 2  # batches made in advance


@dataclass
class Rows:
    """Some rows of a memory-mapped array, in an order of their own; ``rows[some]`` reads them."""

    array: NDArray[np.uint8]
    chosen: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, some: int | slice | list[int]) -> NDArray[np.uint8]:
        return np.asarray(self.array[self.chosen[some]])


@dataclass
class Images:
    """Some images of a prepared data set: ``pixels`` (N, S, S, 3) uint8, ``labels`` as in ``pipeline.models.tasks``."""

    ids: list[str]
    pixels: Rows | NDArray[np.uint8]
    labels: Tensor

    @property
    def side(self) -> int:
        """The side S of the images, pixels."""
        side: int = self.pixels[[0]].shape[1]
        return side


def batches(
    pixels: Rows | NDArray[np.uint8],
    *,
    chosen: list[list[int]],
    draws: list[Tensor],
    settings: Augment,
    device: torch.device,
    replace: Callable[[int, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield augmented batches, (B, 3, S, S) in 0..1 on the device.

    Args:
        pixels: Un-augmented images, (N, S, S, 3) uint8.
        chosen: For each batch, the positions of its images in ``pixels``.
        draws: For each batch, (B, DRAWS) uniform numbers.
        settings: The augmentation.
        device: The device of the returned batches.
        replace: Takes a batch's number and its images without augmentation, and returns the images to read instead.
    """

    def make(number: int, some: list[int], drawn: Tensor) -> Tensor:
        images = as_tensor(pixels[some], device)
        return augmented(replace(number, images) if replace else images, drawn, settings)

    waiting = deque(zip(range(len(chosen)), chosen, draws, strict=True))
    with ThreadPoolExecutor(1, initializer=_use_one_core) as thread:
        coming = deque(thread.submit(make, *waiting.popleft()) for _ in range(min(AHEAD, len(waiting))))
        while coming:
            batch = coming.popleft().result()
            if waiting:
                coming.append(thread.submit(make, *waiting.popleft()))
            yield batch


def _use_one_core() -> None:
    """Keep this thread's operations in this thread: more threads would spin on the cores that training needs."""
    torch.get_num_threads()  # torch creates a thread's pool on this first call
    threadpool_limits(1, user_api="openmp")  # limits the calling thread alone, unlike torch.set_num_threads


def as_tensor(pixels: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Convert (B, S, S, 3) uint8 to (B, 3, S, S) float in 0..1, channels last."""
    moved = torch.from_numpy(np.ascontiguousarray(pixels)).to(device or "cpu", non_blocking=True)
    return moved.permute(0, 3, 1, 2).float() / 255
