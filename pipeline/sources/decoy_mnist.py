"""decoy-mnist: MNIST with a grey square in a random corner that gives the class away.

Ross, Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, section 4.2, https://arxiv.org/abs/1703.03717: in
training a 4 x 4 square's grey level is 255 - 25 y; where it misleads (val-shifted, test-shifted: the paper's test) it
is that of a random class. ``root`` is mnist.npz, with x_train, y_train, x_test and y_test; the last 5,000 training
digits are val. The evidence is all but the four corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecoyMnist
from pipeline.data.prepared import Item
from pipeline.errors import ConfigError

CLASSES = [str(digit) for digit in range(10)]
VAL, SQUARE = 5000, 4
COUNT = 60_000 + VAL + 2 * 10_000  # digits that are not in train are there twice
CORNERS = [(slice(0, SQUARE), slice(0, SQUARE)), (slice(0, SQUARE), slice(-SQUARE, None))]
CORNERS += [(slice(-SQUARE, None), columns) for _, columns in CORNERS]


def items(settings: DecoyMnist) -> Iterator[Item]:
    """All digits at 28 x 28 pixels. The data set is one: no seed changes it. Raises ConfigError if MNIST is missing."""
    rng = np.random.default_rng(0)
    evidence = np.ones((28, 28), bool)
    for corner in CORNERS:
        evidence[corner] = False
    for part, pictures, labels in _mnist(Path(settings.root)):
        for number, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
            split = "test" if part == "test" else "val" if number >= len(pictures) - VAL else "train"
            corner = CORNERS[rng.integers(4)]
            name = f"{part}-{number:05d}"
            yield Item(name, CLASSES[label], split, _with_square(picture, corner, label), evidence)
            if split != "train":
                shifted = _with_square(picture, corner, int(rng.integers(10)))
                yield Item(f"{name}-shifted", CLASSES[label], f"{split}-shifted", shifted, evidence)


def _mnist(path: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    try:
        with np.load(path) as stored:
            for part in ("train", "test"):
                yield part, stored[f"x_{part}"], stored[f"y_{part}"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path} is not MNIST as one numpy archive with x_train, y_train, x_test, y_test ({error}); "
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz is; or correct "
            "`datasets.<name>.root` in params.yaml"
        ) from error


def _with_square(picture: NDArray[np.uint8], corner: tuple[slice, slice], label: int) -> NDArray[np.uint8]:
    """The digit (28, 28) as RGB (28, 28, 3), its corner in the grey of a class."""
    marked = picture.copy()
    marked[corner] = 255 - 25 * label
    return np.repeat(marked[:, :, None], 3, axis=2)
