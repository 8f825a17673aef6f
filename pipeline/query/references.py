"""References: the images that an explanation compares with."""

from __future__ import annotations

import torch
from torch import Tensor


def blurred(images: Tensor, *, sigma: float = 0.1, reach: float = 2.0) -> Tensor:
    """Return (B, C, S, S) images blurred until no region stands out.

    The kernel is a Gaussian. Its ``sigma`` is a share of the side S; it ends at ``reach`` sigmas.
    """
    from torchvision.transforms.v2.functional import gaussian_blur  # late: it takes as long as torch

    pixels = sigma * images.shape[-1]
    kernel = 2 * round(reach * pixels) + 1
    with torch.autocast(images.device.type, enabled=False):
        rows = gaussian_blur(images, [kernel, 1], [pixels, pixels])  # one axis after the other: many times as fast
        return gaussian_blur(rows, [1, kernel], [pixels, pixels])


def plain(images: Tensor, colour: Tensor | float) -> Tensor:
    """Return images of the same shape (B, C, H, W) in one colour: a number or (1, C, 1, 1); 1 is white, 0 black."""
    return torch.zeros_like(images) + colour
