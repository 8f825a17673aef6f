"""The paper's augmentation (section 4.1): flips, rotation, crop and brightness, from given random numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import Augment

DRAWS = 7  # uniform numbers for one image: two flips, angle, area, two of the crop's place, brightness


def augmented(images: Tensor, draws: Tensor, settings: Augment) -> Tensor:
    """Return (B, 3, S, S) images in 0..1 augmented by their uniform numbers ``draws`` (B, DRAWS).

    Flips, free rotation and crop are one bilinear resampling, black outside of the image. Brightness follows.
    """
    u = draws.to(images)
    if not len(images):
        return images
    if settings.flip or settings.rotate_degrees or settings.crop:
        flips = torch.where(u[:, :2] < 0.5, -1.0, 1.0) if settings.flip else torch.ones_like(u[:, :2])
        angle = math.radians(settings.rotate_degrees) * (2 * u[:, 2] - 1)
        area = 1 - u[:, 3] * (1 - (1 - settings.crop) ** 2)
        side = area.sqrt()
        centre = (2 * u[:, 4:6] - 1) * (1 - side[:, None])  # of the window, which stays within the rotated image
        rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        back = flips[:, :, None] * rotation  # from the window to the original image
        theta = torch.cat([back * side[:, None, None], (back @ centre[:, :, None])], dim=2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if settings.brightness:
        factor = 1 + settings.brightness * (2 * u[:, 6] - 1)
        images = (images * factor[:, None, None, None]).clamp(max=1)
    return images
