"""Near-duplicates: pictures that are equal but for colours, compression, or a small change."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

SIDE = 16  # of the small pictures that are compared, pixels
ALIKE = 0.98  # correlation; two pictures of different lesions in ISIC 2017 reach 0.978, and of eyes in IDRiD 0.958
AT_ONCE = 512  # pictures that are compared with all others at a time
MOST = 100_000  # pairs; a data set with more, such as a film, has no use for a list


def pairs(small: NDArray[np.float32], pictures: pd.Series) -> tuple[NDArray[np.int64], bool]:
    """Return the pairs of near-duplicates (M, 2), each once, and whether these are all.

    The mean picture is taken away first: it is what all pictures of a kind have in common, such as a round border.
    Turned, mirrored and cropped pictures are not found.

    Args:
        small: Grey pictures (N, 16, 16).
        pictures: The digest of each picture; equal pictures are always a pair.
    """
    flat: NDArray[np.float32] = small.reshape(len(small), SIDE * SIDE)
    if len(flat):
        alone = _unit(flat - flat.mean(axis=1, keepdims=True))
        flat = _unit(alone - alone.mean(axis=0))
    codes, _ = pd.factorize(pictures)
    found: list[NDArray[np.int64]] = []
    for some in _alike(flat, codes):
        found.append(some)
        if sum(map(len, found)) > MOST:
            return np.concatenate(found)[:MOST], False
    return np.concatenate([np.empty((0, 2), np.int64), *found]), True


def _unit(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row with length 1, so that light and contrast do not count; a row of zeros stays."""
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)


def _alike(flat: NDArray[np.float32], codes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    starts = range(0, len(flat), AT_ONCE)
    for start in track(starts, "comparing pictures", disable=not sys.stdout.isatty()):
        rows = slice(start, start + AT_ONCE)
        alike = (flat[rows] @ flat[start:].T > ALIKE) | (codes[rows, None] == codes[None, start:])
        yield start + np.argwhere(np.triu(alike, k=1))
