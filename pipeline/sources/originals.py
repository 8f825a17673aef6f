"""Original image files: what a source says of them, and how each is read, once.

A source (``isic2017``, ``aptos2019``, ``nci``, ``folder``) says which files there are and what is
known of them, and opens none. Here they are read in parallel: turned upright by EXIF, converted to
8-bit RGB, brought to one size, and stripped of everything else that their files hold.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Item
from pipeline.errors import ConfigError, listed
from pipeline.sources import decoding
from pipeline.sources.decoding import Fit, Pixels, UnusableError

Mask = NDArray[np.bool_]
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
    """The (S, S, 3) picture in a file, as ``decoding.picture`` makes it."""
    return decoding.picture(_content(path), size, fit)


def _read(original: Original, evidence: Callable[[Pixels], Mask] | None, size: int, fit: Fit) -> Item:
    upright = decoding.upright(_content(original.path), size)
    pixels = np.asarray(decoding.resized(upright, size, fit))
    area = None
    if original.mask is not None:
        # A mask may have another size than its image; it covers the same field of view.
        mask = decoding.opened(_content(original.mask)).convert("L")
        mask = mask if fit == "stretch" else mask.resize(upright.size)
        values = np.asarray(decoding.resized(mask, size, fit))
        area = values > values.max() / 2  # masks come with 255 or with 1 for "inside"
    elif evidence is not None:
        area = evidence(pixels)
    return Item(original.name, original.label, original.split, pixels, area, original.group)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"cannot be read ({type(error).__name__}: {error})") from error


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
