"""Decoding: an image file's content becomes a network's pixels, in the same way for preparing and for serving.

A registered model carries a copy of this module, so this module imports nothing of the project.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
Fit = Literal["stretch", "crop"]  # as in pipeline/choices.py, which a registered model does not have


class UnusableError(Exception):
    """One file is no usable image. The message goes behind the file's name: "is empty"."""


def picture(content: bytes, size: int, fit: Fit) -> Pixels:
    """Return the image (S, S, 3) in a file's content.

    ``stretch`` brings both sides to S, as in the paper. ``crop`` brings the shorter side to S and keeps the middle of
    the longer side. Grey, palette, CMYK and 16-bit images are converted; transparent images are laid on white. Raises
    UnusableError if the content is no image, is cut off, or holds several images.
    """
    return np.asarray(resized(upright(content, size), size, fit))


def upright(content: bytes, size: int) -> Image.Image:
    """Return the RGB image, turned as EXIF says. A large JPEG is decoded at a fraction of its size."""
    image = opened(content, draft=2 * size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits become 8. Pillow holds 16-bit images in 32-bit modes; real 32-bit images have no known range.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnusableError("has more than 16 bits a pixel")
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise UnusableError("holds floating-point numbers, not an image")
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(on_white, image.convert("RGBA"))
    return image.convert("RGB")


def opened(content: bytes, draft: int = 0) -> Image.Image:
    """Return the image in a file's content, as it is stored.

    ``draft``: decode a JPEG at a smaller size, with no side below this many pixels, which is much faster.
    """
    try:
        if not content:
            raise UnusableError("is empty")
        image = Image.open(io.BytesIO(content))
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # MPO: a camera's JPEG with a preview behind the image
            raise UnusableError(f"holds {frames} images, not one")
        if draft and image.mode == "RGB":
            image.draft("RGB", (draft, draft))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnusableError(f"cannot be read as an image ({type(error).__name__}: {error})") from error
    return image


def resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Return the image, or a mask, at ``size`` x ``size`` pixels."""
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC)
