"""decoy-mnist: MNIST with a grey square in a random corner that gives the class away.

Ross, Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, section 4.2, https://arxiv.org/abs/1703.03717. In
training, the grey level of a 4 x 4 square is 255 - 25 y. In val-shifted and test-shifted (the paper's test), the grey
level belongs to a random class. ``root`` is mnist.npz, with x_train, y_train, x_test and y_test; the last 5,000
training digits are val. The evidence is everything but the four corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecoyMnist
from pipeline.data.prepared import Item
from pipeline.errors import DataError
from pipeline.sources.source import Generated, shifted

CLASSES = [str(digit) for digit in range(10)]
VAL, SQUARE = 5000, 4
COUNT = 60_000 + VAL + 2 * 10_000  # val and test digits occur twice, with the second time shifted
CORNERS = [(slice(0, SQUARE), slice(0, SQUARE)), (slice(0, SQUARE), slice(-SQUARE, None))]
CORNERS += [(slice(-SQUARE, None), columns) for _, columns in CORNERS]
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"


def read(settings: DecoyMnist) -> Generated:
    """Return all digits; reading the first digit raises DataError if MNIST is missing."""
    return Generated(CLASSES, COUNT, items(Path(settings.root)))


def items(archive: Path) -> Iterator[Item]:
    """Yield all digits at 28 x 28 pixels. The data set is fixed: no seed changes it."""
    rng = np.random.default_rng(0)
    evidence = np.ones((28, 28), bool)
    for corner in CORNERS:
        evidence[corner] = False
    for part, pictures, labels in _mnist(archive):
        for number, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
            split = "test" if part == "test" else "val" if number >= len(pictures) - VAL else "train"
            corner = CORNERS[rng.integers(4)]
            item = Item(
                name=f"{part}-{number:05d}",
                label=CLASSES[label],
                split=split,
                image=_with_square(picture, corner, label),
                evidence=evidence,
            )
            yield item
            if split != "train":
                yield shifted(item, _with_square(picture, corner, int(rng.integers(10))))


def _mnist(archive: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    try:
        with np.load(archive) as stored:
            for part in ("train", "test"):
                yield part, stored[f"x_{part}"], stored[f"y_{part}"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{archive} is missing, or is not MNIST as one numpy archive with x_train, y_train, x_test and y_test. "
            f"Fix: download {URL} and set `datasets.<name>.root` in params.yaml to the file."
        ) from error


def _with_square(picture: NDArray[np.uint8], corner: tuple[slice, slice], label: int) -> NDArray[np.uint8]:
    """Return the digit (28, 28) as RGB (28, 28, 3), with a class's grey in one corner."""
    marked = picture.copy()
    marked[corner] = 255 - 25 * label
    return np.repeat(marked[:, :, None], 3, axis=2)
