"""Original image files: what a source says of them, and how each is read, once.

A source (``isic2017``, ``aptos2019``, ``nci``, ``folder``) says which files there are and what is
known of them, and opens none. Here they are read in parallel: turned upright by EXIF, converted to
8-bit RGB, brought to one size, and stripped of everything else that their files hold.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.config import ConfigError
from pipeline.datasets.prepared import Item
from pipeline.errors import listed

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fit = Literal["stretch", "crop"]
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Original:
    """One image file. ``name`` is the source's own id of it, which stays on this machine."""

    name: str
    path: Path
    label: str
    split: str | None = None  # None: the source has no official one
    group: str | None = None  # a patient or a lesion: never in two splits
    mask: Path | None = None  # its evidence mask


@dataclass(frozen=True)
class Originals:
    """All that a source knows of its files.

    ``evidence`` maps a prepared (S, S, 3) picture without a mask file to its evidence, (S, S);
    ``held_out`` is the share of val and test together where there is no official split.
    """

    classes: list[str]
    rows: list[Original]
    evidence: Callable[[Pixels], Mask] | None = None
    held_out: float = 0.2


class UnusableError(Exception):
    """One file that is no usable picture; the message says why."""


def items(originals: Originals, size: int, fit: Fit) -> Iterator[Item]:
    """Every original at ``size`` x ``size`` pixels, in the source's order.

    Raises ConfigError at the end that names the files which are no usable pictures.
    """

    def read(original: Original) -> Item | str:
        try:
            return _read(original, originals.evidence, size, fit)
        except UnusableError as error:
            return f"{original.path} {error}"

    unusable = []
    for found in _in_parallel(read, originals.rows):
        if isinstance(found, Item):
            yield found
        else:
            unusable.append(found)
    if unusable:
        raise ConfigError(
            f"{len(unusable)} files cannot be used; replace them, or take them out of the data set:\n{listed(unusable)}"
        )


def picture(path: Path, size: int, fit: Fit) -> Pixels:
    """The (S, S, 3) picture in a file.

    ``stretch``: both sides to S, as the paper does. ``crop``: the shorter side to S and the middle
    of the longer one. Grey, palette, CMYK and 16-bit pictures are converted, transparent ones laid
    on white. Raises UnusableError for what is no picture, is cut off, or holds several.
    """
    return np.asarray(_resized(_upright(path, size), size, fit))


def _read(original: Original, evidence: Callable[[Pixels], Mask] | None, size: int, fit: Fit) -> Item:
    upright = _upright(original.path, size)
    pixels = np.asarray(_resized(upright, size, fit))
    area = None
    if original.mask is not None:
        # A mask may have another size than its image; it covers the same field of view.
        mask = _open(original.mask).convert("L")
        mask = mask if fit == "stretch" else mask.resize(upright.size)
        values = np.asarray(_resized(mask, size, fit))
        area = values > values.max() / 2  # masks come with 255 or with 1 for "inside"
    elif evidence is not None:
        area = evidence(pixels)
    return Item(original.name, original.label, original.split, pixels, area, original.group)


def _upright(path: Path, size: int) -> Image.Image:
    """The RGB picture as it is to be looked at; large JPEGs come at a fraction of their size."""
    image = _open(path, draft=2 * size)
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


def _open(path: Path, draft: int = 0) -> Image.Image:
    """``draft``: a JPEG may come smaller, with no side below this many pixels, which is far quicker."""
    try:
        content = path.read_bytes()
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


def _resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _in_parallel(function: Callable[[T], U], arguments: Iterable[T]) -> Iterator[U]:
    """Results in order, on all cores (decoding releases Python's lock), with few of them in memory."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[U]] = deque()
        for argument in arguments:
            under_way.append(pool.submit(function, argument))
            if len(under_way) >= 4 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
