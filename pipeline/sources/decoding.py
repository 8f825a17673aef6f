"""How the content of an image file becomes what a network sees: the same when data are prepared and when it is served.

A registered model carries this module with it, so it imports nothing of the project.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
Fit = Literal["stretch", "crop"]


class UnusableError(Exception):
    """One file that is no usable picture; the message says why."""


def picture(content: bytes, size: int, fit: Fit) -> Pixels:
    """The (S, S, 3) picture in a file's content.

    ``stretch``: both sides to S, as the paper does. ``crop``: the shorter side to S and the middle
    of the longer one. Grey, palette, CMYK and 16-bit pictures are converted, transparent ones laid
    on white. Raises UnusableError for what is no picture, is cut off, or holds several.
    """
    return np.asarray(resized(upright(content, size), size, fit))


def upright(content: bytes, size: int) -> Image.Image:
    """The RGB picture as it is to be looked at; large JPEGs come at a fraction of their size."""
    image = opened(content, draft=2 * size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits to 8; 32-bit containers hold 16-bit pictures, or are nothing that we know.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnusableError("has more than 16 bits a pixel")
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise UnusableError("holds floating-point numbers, not a picture")
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(on_white, image.convert("RGBA"))
    return image.convert("RGB")


def opened(content: bytes, draft: int = 0) -> Image.Image:
    """The picture in a file's content, as it lies there.

    ``draft``: a JPEG may come smaller, with no side below this many pixels, which is far quicker.
    """
    try:
        if not content:
            raise UnusableError("is empty")
        image = Image.open(io.BytesIO(content))
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview behind the picture
            raise UnusableError(f"holds {frames} pictures, not one")
        if draft and image.mode == "RGB":
            image.draft("RGB", (draft, draft))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnusableError(f"cannot be read as an image ({type(error).__name__}: {error})") from error
    return image


def resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """The picture, or its mask, at ``size`` x ``size`` pixels."""
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC)
