"""All masks that are in force in a run: what the experts said so far, as training reads it.

An entry is one image in one round. Later rounds may add to an image; nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ConfigError


@dataclass(frozen=True)
class Entry:
    """One image's answers of one round, as (S, S) arrays.

    ``mask`` is W, float32: 1 where the model must not look, less where experts disagree. ``asked``, bool, is
    all that experts were shown.
    """

    round: str
    image_id: str
    mask: NDArray[np.float32]
    asked: NDArray[np.bool_]


def in_force(entries: list[Entry]) -> dict[str, NDArray[np.float32]]:
    """W of each image, the highest of all rounds; images with nothing to disregard are left out."""
    return _union((entry.image_id, entry.mask) for entry in entries if entry.mask.any())


def asked(entries: list[Entry]) -> dict[str, NDArray[np.bool_]]:
    """What experts were already shown of each image, all rounds together."""
    return _union((entry.image_id, entry.asked) for entry in entries)


def write(path: Path, entries: list[Entry], size: int) -> None:
    """Store the entries of images of ``size`` x ``size`` pixels: W in steps of 1/255, compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    none = np.zeros((0, size, size), np.uint8)
    np.savez_compressed(
        path,
        round=np.array([entry.round for entry in entries], dtype=str),
        image_id=np.array([entry.image_id for entry in entries], dtype=str),
        mask=np.concatenate([none] + [_steps(entry.mask)[None] for entry in entries]),
        asked=np.concatenate([none.astype(bool)] + [entry.asked[None] for entry in entries]),
    )


def rounded(entries: list[Entry]) -> list[Entry]:
    """The entries as they would come back from ``write`` and ``read``."""
    return [replace(entry, mask=_steps(entry.mask).astype(np.float32) / np.float32(255)) for entry in entries]


def read(path: Path) -> list[Entry]:
    """Load what ``write`` stored; raises ConfigError if it is not there or damaged."""
    try:
        with np.load(path) as stored:
            mask = stored["mask"].astype(np.float32) / 255
            rows = zip(stored["round"], stored["image_id"], mask, stored["asked"], strict=True)
            return [Entry(str(n), str(image_id), m, a) for n, image_id, m, a in rows]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not a file of masks ({error}); run `dvc repro` to write it again") from error


def _steps(mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(255 * mask).astype(np.uint8)


def _union(areas: Iterable[tuple[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    together: dict[str, NDArray[Any]] = {}
    for image_id, area in areas:
        together[image_id] = np.maximum(area, together[image_id]) if image_id in together else area
    return together
