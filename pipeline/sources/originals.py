"""Original image files: each is read once, in parallel.

Images are turned upright by EXIF, converted to 8-bit RGB and brought to one size. Everything else in their files is
dropped.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from pipeline.choices import Fit
from pipeline.data.prepared import Item
from pipeline.errors import DataError, listed
from pipeline.sources import decoding
from pipeline.sources.decoding import UnusableError
from pipeline.sources.source import Area, Original, Originals, Pixels

T = TypeVar("T")
U = TypeVar("U")


def items(originals: Originals, size: int, fit: Fit) -> Iterator[Item]:
    """Yield every original at ``size`` x ``size`` pixels, in the source's order.

    Raises DataError after the last item, naming all files that are no usable images.
    """

    def read(original: Original) -> Item | str:
        try:
            return _item(original, originals, size=size, fit=fit)
        except UnusableError as error:
            return f"{original.path} {error}"

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


def picture(path: Path, size: int, fit: Fit) -> Pixels:
    """Return the image (S, S, 3) in a file, as ``decoding.picture`` decodes it; raise UnusableError otherwise."""
    return decoding.picture(_content(path), size, fit)


def _item(original: Original, source: Originals, *, size: int, fit: Fit) -> Item:
    upright = decoding.upright(_content(original.path), size)
    pixels = np.asarray(decoding.resized(upright, size, fit))
    evidence = None
    if original.mask is not None:
        evidence = _mask(original.mask, upright.size, size=size, fit=fit)
    elif source.evidence is not None:
        evidence = source.evidence(pixels)
    return Item(
        name=original.name,
        label=original.label,
        split=original.split,
        image=pixels,
        evidence=evidence,
        group=original.group,
        attributes=original.attributes,
    )


def _mask(path: Path, image_size: tuple[int, int], *, size: int, fit: Fit) -> Area:
    """Return an evidence mask (S, S). The mask's file covers the image's field of view, at any size."""
    mask: Image.Image = decoding.opened(_content(path)).convert("L")
    mask = mask if fit == "stretch" else mask.resize(image_size)
    values = np.asarray(decoding.resized(mask, size, fit))
    return values > values.max() / 2  # some masks have 255 for "inside", others have 1


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
