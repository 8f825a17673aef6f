"""Evidence masks: which of their pixels are evidence, and a line that says so.

A mask has any size, and the shape of its image. The settings may name the values that are evidence (`mask_values`).
Without them there are two kinds of masks:

    shades    black and white, perhaps with soft edges: what is brighter than half of the maximum is evidence
    labels    3 to 16 values, such as 0, 1 and 2: all but the lowest, which is the background, and noise near it
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.choices import Fit, assert_known
from pipeline.errors import DataError, listed
from pipeline.sources import decoding
from pipeline.sources.decoding import UnusableError
from pipeline.sources.source import Area

LABELS = 16  # values; a mask with more is one of shades
FAINT = 0.04  # of the range of values: compression makes such values out of the background
OTHER_SHAPE = 0.03  # relative difference of the ratio of the sides


class Evidence:
    """All masks of a data set, read one by one, by several threads."""

    def __init__(self, values: list[int] | None = None) -> None:
        self._values = values
        self._shares: dict[Path, float] = {}  # of the image that is evidence
        self._labels: set[int] = set()
        self._labelled = 0
        self._stretched: list[Path] = []

    def read(self, path: Path, content: bytes, image_size: tuple[int, int], *, size: int, fit: Fit) -> Area:
        """Return the evidence (S, S) in a mask's file.

        Args:
            path: The file, for messages.
            content: The content of the file.
            image_size: Width and height of the upright image, pixels.
            size: S, pixels.
            fit: How pictures become square.

        Raises:
            ValueError: ``fit`` is unknown.
            UnusableError: The mask is no image, or lies where its image stands.
        """
        assert_known(fit, Fit, "fit")
        values = decoding.labels(content, stored=self._values is not None)
        with decoding.naming_damage():
            self._check_shape(path, values.shape, image_size)
            mask = Image.fromarray(self._bright(values))
            mask = mask if fit == "stretch" else mask.resize(image_size)
            pixels = np.asarray(decoding.resized(mask, size, fit))
            area: Area = pixels > pixels.max() / 2  # some masks have 255 for "inside", others have 1
        self._shares[path] = float(area.mean())
        return area

    def tell(self) -> None:
        """Print what was read as evidence; raise DataError if no mask has any evidence."""
        if not self._shares:
            return
        empty = sorted(path for path, share in self._shares.items() if share == 0)
        seen = f"Labels are {', '.join(map(str, sorted(self._labels)))}. " if self._labels else ""
        if len(empty) == len(self._shares):
            raise DataError(
                f"none of the {len(empty)} masks has a pixel that counts as evidence. {seen}Fix: mark the evidence in "
                f"white, or name its values as `mask_values`:\n{listed(empty)}"
            )
        if self._values is not None:
            rule = f"the values {', '.join(map(str, self._values))} are evidence"
        elif self._labelled:
            rule = f"in {self._labelled} of them, all labels but the lowest are evidence (`mask_values` names others)"
        else:
            rule = "what is brighter than half is evidence"
        mean = np.mean(list(self._shares.values()))
        print(f"{len(self._shares)} masks: {rule}. {seen}It covers {mean:.0%} of an image on average", flush=True)
        if empty:
            print(f"warning: {len(empty)} masks have no evidence:\n{listed(empty)}")
        if self._stretched:
            print(
                f"warning: {len(self._stretched)} masks have another shape than their images, and are stretched to "
                f"them:\n{listed(sorted(self._stretched))}"
            )

    def _bright(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the mask (H, W) with the evidence brighter than half of its maximum."""
        found = np.unique(values)
        is_labels = 2 < len(found) <= LABELS
        if is_labels or self._values is not None:
            self._labels.update(found[:LABELS].tolist())
        if self._values is not None:
            return np.isin(values, self._values).astype(np.uint8) * np.uint8(255)
        if is_labels:
            self._labelled += 1
            faint = found[0] + FAINT * (int(found[-1]) - int(found[0]))
            return (values > faint).astype(np.uint8) * np.uint8(255)
        if found[-1] > 255:
            return (values.astype(np.uint32) * 255 // found[-1]).astype(np.uint8)
        return values.astype(np.uint8)

    def _check_shape(self, path: Path, shape: tuple[int, ...], image_size: tuple[int, int]) -> None:
        height, width = shape
        of_image = image_size[0] / image_size[1]
        if abs(width / height / of_image - 1) <= OTHER_SHAPE:
            return
        if abs(height / width / of_image - 1) <= OTHER_SHAPE:
            raise UnusableError(
                f"lies on its side: it has {width} x {height} pixels, and its upright image {image_size[0]} x "
                f"{image_size[1]}; turn the mask"
            )
        self._stretched.append(path)
