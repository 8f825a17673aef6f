"""The result of reading a source: image files with their labels, or images that the source makes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Item

Pixels = NDArray[np.uint8]  # (S, S, 3), RGB
Area = NDArray[np.bool_]  # (S, S)


@dataclass(frozen=True)
class Original:
    """One image file. ``name`` is the source's own id of the image; the name stays on this machine."""

    name: str
    path: Path
    label: str
    split: str | None = None  # None: the source has no official split
    group: str | None = None  # a patient or a lesion: never in two splits
    mask: Path | None = None  # the file of the evidence mask
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the image, by name: metrics have rows for them


@dataclass(frozen=True)
class Originals:
    """All image files of a source; none of them is open.

    ``evidence`` returns the evidence (S, S) of a prepared image (S, S, 3) without a mask file. ``held_out`` is the
    share of val and test together, for a source without official splits. If ``findings`` is true, the classes are
    findings, and a label is the text of an image's findings (``pipeline.data.findings``).
    """

    classes: list[str]
    rows: list[Original]
    evidence: Callable[[Pixels], Area] | None = None
    held_out: float = 0.2
    findings: bool = False


@dataclass(frozen=True)
class Generated:
    """``count`` images that a source makes itself, each with a split. Their names become their prepared ids."""

    classes: list[str]
    count: int
    items: Iterator[Item]


Source = Originals | Generated


def shifted(item: Item, image: Pixels) -> Item:
    """Return the item's twin in the shifted split, where the shortcut misleads."""
    return replace(item, name=f"{item.name}-shifted", split=f"{item.split}-shifted", image=image)
