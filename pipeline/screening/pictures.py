"""Properties of pictures that a network could read instead of the finding: light, borders, blur, colour, size.

cleanvision computes similar ones, to list odd images. It reads files, not the prepared images that a network sees, and
has neither corners nor colour casts.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pipeline.data.prepared import Prepared
from pipeline.screening.duplicates import SIDE

LOOKS = {  # property → the question that it raises for experts
    "brightness": "Look at exposure and background: is the picture lighter for another reason than the finding?",
    "contrast": "Look at exposure and haze: does the contrast come from the device?",
    "dark corners": "Look at corners and borders: a lens's edge, a frame, a collimator.",
    "sharpness": "Look at focus, compression, hair and texture.",
    "red to green": "Look at the colour cast: light source, white balance, dye, skin.",
    "blue to yellow": "Look at the colour cast: light source, white balance, dye, skin.",
    "original size": "The size of the original goes with device and site. Look at sharpness and borders.",
    "original shape": "The original's longer side over its shorter side goes with device and cropping.",
}


AT_ONCE = 60_000  # pixels that are read at a time
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow weighs them

Small = NDArray[np.float32]


def properties(data: Prepared) -> tuple[dict[str, NDArray[np.float64]], Small]:
    """Return each property of all pictures (N,), in the order of the index, and small grey pictures (N, 16, 16)."""
    rows = data.index["row"].to_numpy()
    parts = np.array_split(rows, max(1, len(rows) * data.images.shape[1] ** 2 // AT_ONCE))
    shown = track(parts, f"screening {data.folder.name}", disable=not sys.stdout.isatty())
    read = [_read(data.images[part]) for part in shown]
    found = {name: np.concatenate(some) for name, *some in zip(LOOKS, *(values for values, _ in read), strict=False)}
    if (sizes := data.original_sizes()) is not None:
        found["original size"] = np.prod(sizes, axis=1).astype(float)
        found["original shape"] = sizes.max(axis=1) / sizes.min(axis=1)
    return found, np.concatenate([small for _, small in read])


def _read(pictures: NDArray[np.uint8]) -> tuple[list[NDArray[np.float64]], Small]:
    """Return the first six properties of pictures (B, S, S, 3), each (B,), and the small pictures (B, 16, 16)."""
    red, green, blue = (pictures[..., channel].astype(np.float32) for channel in range(3))
    grey = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    side = grey.shape[1]
    edge = side // 8
    corners = grey[:, :, [*range(edge), *range(side - edge, side)]][:, [*range(edge), *range(side - edge, side)]]
    curvature = 4 * grey[:, 1:-1, 1:-1]
    curvature -= grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    r, g, b, light, dark = (_mean(channel) for channel in (red, green, blue, grey, corners))
    found = [light, grey.std(axis=(1, 2)), light - dark, curvature.std(axis=(1, 2)), r - g, b - (r + g) / 2]
    return [values.astype(float) for values in found], _reduced(grey)


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.mean(axis=(1, 2))
    return found


def _reduced(grey: NDArray[np.float32]) -> Small:
    """Return grey pictures (B, S, S) as (B, 16, 16), each pixel a mean."""
    side = grey.shape[1]
    part = np.arange(side) * SIDE // side
    mean = (part == np.arange(SIDE)[:, None]) / np.maximum(np.bincount(part, minlength=SIDE), 1)[:, None]
    mean = mean.astype(np.float32)
    found: Small = mean @ grey @ mean.T
    return found
