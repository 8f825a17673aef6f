"""All masks that are in force in a run: what the experts said so far, as training reads it.

An entry is one image in one round. Later rounds may add to an image; nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ConfigError


@dataclass(frozen=True)
class Entry:
    """One image's answers of one round, as (S, S) bool arrays.

    ``mask`` is W: True where the model must not look. ``asked`` is all that experts were shown.
    """

    round: str
    image_id: str
    mask: NDArray[np.bool_]
    asked: NDArray[np.bool_]


def in_force(entries: list[Entry]) -> dict[str, NDArray[np.bool_]]:
    """W of each image, all rounds together; images with nothing to disregard are left out."""
    return _union((entry.image_id, entry.mask) for entry in entries if entry.mask.any())


def asked(entries: list[Entry]) -> dict[str, NDArray[np.bool_]]:
    """What experts were already shown of each image, all rounds together."""
    return _union((entry.image_id, entry.asked) for entry in entries)


def write(path: Path, entries: list[Entry], size: int) -> None:
    """Store the entries of images of ``size`` x ``size`` pixels, bit-packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blank = np.zeros((0, size, (size + 7) // 8), np.uint8)
    np.savez(
        path,
        round=np.array([entry.round for entry in entries], dtype=str),
        image_id=np.array([entry.image_id for entry in entries], dtype=str),
        mask=np.concatenate([blank] + [np.packbits(entry.mask, axis=1)[None] for entry in entries]),
        asked=np.concatenate([blank] + [np.packbits(entry.asked, axis=1)[None] for entry in entries]),
        size=size,
    )


def read(path: Path) -> list[Entry]:
    """Load what ``write`` stored; raises ConfigError if it is not there or damaged."""
    try:
        with np.load(path) as stored:
            size = int(stored["size"])
            mask, asked = (np.unpackbits(stored[name], axis=2, count=size).astype(bool) for name in ("mask", "asked"))
            rows = zip(stored["round"], stored["image_id"], mask, asked, strict=True)
            return [Entry(str(n), str(image_id), m, a) for n, image_id, m, a in rows]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not a file of masks ({error}); run `dvc repro` to write it again") from error


def at_random(entries: list[Entry], cell: int, seed: int) -> list[Entry]:
    """The placebo: the same images and rounds, as many grid cells each, placed at random.

    ``cell`` is a grid cell's side in pixels. Areas that are no whole number of cells are rounded.
    """
    rng = np.random.default_rng(seed)
    placed = []
    for entry in entries:
        side = entry.mask.shape[0] // cell
        chosen = np.zeros(side * side, bool)
        chosen[rng.permutation(side * side)[: round(entry.mask.sum() / cell**2)]] = True
        mask = np.zeros_like(entry.mask)  # cells that do not divide it leave a margin
        mask[: side * cell, : side * cell] = np.kron(chosen.reshape(side, side), np.ones((cell, cell), bool))
        placed.append(Entry(entry.round, entry.image_id, mask, entry.asked))
    return placed


def _union(areas: Iterable[tuple[str, NDArray[np.bool_]]]) -> dict[str, NDArray[np.bool_]]:
    together: dict[str, NDArray[np.bool_]] = {}
    for image_id, area in areas:
        together[image_id] = area | together[image_id] if image_id in together else area
    return together
