"""From a memory-mapped array to augmented batches on the network's device, ahead of the step that needs them.

A thread reads and augments the next batches while the network trains on this one; with an accelerator, pictures
travel as uint8 and are augmented there. What is drawn at random is drawn beforehand, so an epoch is the
same whatever thread or process makes its batches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import Augment

DRAWS = 7  # uniform numbers that an image's augmentation takes
AHEAD = 2  # batches made in advance


@dataclass
class Rows:
    """Some rows of a memory-mapped array, in an order of their own, read when asked for: ``rows[some]``."""

    array: NDArray[np.uint8]
    chosen: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, some: int | slice | list[int]) -> NDArray[np.uint8]:
        return np.asarray(self.array[self.chosen[some]])


@dataclass
class Images:
    """Some images of a prepared data set: ``pixels`` (N, S, S, 3) uint8, ``labels`` (N,) class numbers."""

    ids: list[str]
    pixels: Rows | NDArray[np.uint8]
    labels: Tensor


def batches(
    pixels: Rows | NDArray[np.uint8],
    chosen: list[list[int]],
    draws: list[Tensor],
    settings: Augment,
    device: torch.device,
) -> Iterator[Tensor]:
    """Each batch of these positions, augmented: (B, 3, S, S) in 0..1 on the device.

    ``draws``: for each batch, (B, DRAWS) uniform numbers.
    """

    def make(some: list[int], drawn: Tensor) -> Tensor:
        return augmented(as_tensor(pixels[some], device), drawn, settings)

    waiting = deque(zip(chosen, draws, strict=True))
    with ThreadPoolExecutor(1, initializer=_on_one_core) as thread:
        coming = deque(thread.submit(make, *waiting.popleft()) for _ in range(min(AHEAD, len(waiting))))
        while coming:
            batch = coming.popleft().result()
            if waiting:
                coming.append(thread.submit(make, *waiting.popleft()))
            yield batch


def _on_one_core() -> None:
    """This thread's operations stay in it: a team of its own would wait, spinning, on the cores that training needs."""
    torch.get_num_threads()  # torch gives a thread its team when the thread first asks
    threadpool_limits(1, user_api="openmp")  # unlike torch.set_num_threads, of the calling thread alone


def as_tensor(pixels: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float in 0..1, channels last."""
    moved = torch.from_numpy(np.ascontiguousarray(pixels)).to(device or "cpu", non_blocking=True)
    return moved.permute(0, 3, 1, 2).float() / 255


def augmented(images: Tensor, draws: Tensor, settings: Augment) -> Tensor:
    """The paper's four augmentations of (B, 3, S, S) images in 0..1, each as its draws (B, DRAWS) have it.

    Flips, free rotation and crop are one bilinear resampling, with black where there is no picture; then brightness.
    """
    u = draws.to(images)
    if not len(images):
        return images
    if settings.flip or settings.rotate_degrees or settings.crop:
        flips = torch.where(u[:, :2] < 0.5, -1.0, 1.0) if settings.flip else torch.ones_like(u[:, :2])
        angle = math.radians(settings.rotate_degrees) * (2 * u[:, 2] - 1)
        area = 1 - u[:, 3] * (1 - (1 - settings.crop) ** 2)
        side = area.sqrt()
        centre = (2 * u[:, 4:6] - 1) * (1 - side[:, None])  # of the window, which lies within the rotated picture
        rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        back = flips[:, :, None] * rotation  # from the window to the original picture
        theta = torch.cat([back * side[:, None, None], (back @ centre[:, :, None])], dim=2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if settings.brightness:
        factor = 1 + settings.brightness * (2 * u[:, 6] - 1)
        images = (images * factor[:, None, None, None]).clamp(max=1)
    return images
