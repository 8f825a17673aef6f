"""Original image files: each is read once, in parallel.

Images are turned upright by EXIF, converted to 8-bit RGB and brought to one size. Everything else in their files is
dropped. Masks are read in the same way, at any size.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from pipeline.choices import Fit, assert_known
from pipeline.data.prepared import Item
from pipeline.errors import DataError, listed
from pipeline.sources import decoding
from pipeline.sources.decoding import WHITE, UnusableError
from pipeline.sources.evidence import Evidence
from pipeline.sources.source import Original, Originals, Pixels

T = TypeVar("T")
U = TypeVar("U")


def items(
    originals: Originals,
    size: int,
    fit: Fit,
    *,
    white: int = WHITE,
    mask_values: list[int] | None = None,
    window: Mapping[str, float] | None = None,
) -> Iterator[Item]:
    """Yield every original at ``size`` x ``size`` pixels, in the source's order, and print how masks were read.

    Args:
        originals: The image files.
        size: The side of the square images, pixels.
        fit: How a picture becomes square.
        white: The value of 16-bit images that becomes white.
        mask_values: The values of a mask's pixels that are evidence; None: see pipeline/sources/evidence.py.
        window: ``center`` and ``width`` that replace the windows of DICOM files.

    Raises:
        ValueError: ``fit`` is unknown.
        DataError: After the last item, with the names of all files that are no usable images.
    """
    assert_known(fit, Fit, "fit")
    evidence = Evidence(mask_values)
    plain = []

    def read(original: Original) -> Item | str:
        path = original.path
        try:
            content = _content(path)
            upright = decoding.upright(content, size, white, window=window)
            with decoding.naming_damage():
                pixels = np.asarray(decoding.resized(upright, size, fit))
            if pixels.min() == pixels.max():
                plain.append(path)
            area = None
            if original.mask is not None:
                path = original.mask
                area = evidence.read(path, _content(path), upright.size, size=size, fit=fit)
            elif originals.evidence is not None:
                area = originals.evidence(pixels)
        except UnusableError as error:
            return f"{path} {error}" + (f" (the mask of {original.name})" if path != original.path else "")
        return Item(
            name=original.name,
            label=original.label,
            split=original.split,
            image=pixels,
            evidence=area,
            group=original.group,
            attributes=original.attributes,
            size=decoding.original_size(content, upright),
        )

    unusable = []
    for found in _in_parallel(read, originals.rows):
        if isinstance(found, Item):
            yield found
        else:
            unusable.append(found)
    if unusable:
        raise DataError(
            f"{len(unusable)} files cannot be used as images. Fix: replace these files, or take them out of the data "
            f"set:\n{listed(unusable)}"
        )
    if plain:
        print(f"warning: {len(plain)} images have the same value everywhere:\n{listed(sorted(plain))}")
    evidence.tell()


def white(originals: Originals, chosen: int | None) -> int:
    """Return the value of 16-bit images that becomes white, the same for all images of a set, and print it.

    It is ``chosen``, or the largest number with as many bits as the set's largest value has: 4095 for 12 bits. Files
    that cannot be read are left to ``items``.
    """

    def read(original: Original) -> int | None:
        try:
            with Image.open(original.path) as image:
                if not decoding.is_deep(image):
                    return None
            return decoding.largest(_content(original.path))
        except Exception:
            return None

    found = [value for value in _in_parallel(read, originals.rows) if value is not None]
    if not found:
        return WHITE
    value = chosen or (1 << max(max(found).bit_length(), 8)) - 1
    above = sum(value < one for one in found)
    print(
        f"{len(found)} of {len(originals.rows)} images have 16 bits a channel, with values up to {max(found)}: {value} "
        f"becomes white (`white`)" + (f"; {above} images have larger values, which become white too" if above else ""),
        flush=True,
    )
    return value


def picture(path: Path, size: int, fit: Fit) -> Pixels:
    """Return the image (S, S, 3) in a file, as ``decoding.picture`` decodes it; raise UnusableError otherwise."""
    return decoding.picture(_content(path), size, fit)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from error


def _in_parallel(function: Callable[[T], U], arguments: Iterable[T]) -> Iterator[U]:
    """Yield results in order, from all cores (decoding releases Python's lock), with few results in memory."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[U]] = deque()
        for argument in arguments:
            under_way.append(pool.submit(function, argument))
            if len(under_way) >= 4 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
