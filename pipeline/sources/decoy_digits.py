"""decoy-digits: scikit-learn's handwritten digits with a coloured corner patch that gives the class away.

1,797 real 8 x 8 images (Alpaydin and Kaynak 1998, CC BY 4.0), which come with scikit-learn. Each digit is enlarged into
the middle of the image; a square patch in the top left corner has a colour. After Ross et al. 2017 (Decoy MNIST), with
hue in place of their grey level. In train, val and test, the hue tells the class. val-shifted and test-shifted show the
same digits with random hues, which tell nothing. The evidence is the digit's box: nothing else should matter.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import DecoyDigits
from pipeline.data.prepared import Item
from pipeline.sources.source import Generated, shifted

CLASSES = [str(digit) for digit in range(10)]
VAL, TEST = 150, 300  # digits per split; the rest is train. Shifted splits show the same digits.
COUNT = 1797 + VAL + TEST


def read(settings: DecoyDigits) -> Generated:
    """Return all digits at the size of the settings."""
    return Generated(CLASSES, COUNT, items(settings.size))


def items(size: int) -> Iterator[Item]:
    """Yield all digits at ``size`` x ``size`` pixels. The data set is fixed: no seed changes it."""
    from sklearn.datasets import load_digits  # here, because importing scikit-learn takes seconds

    rng = np.random.default_rng(0)
    digits = load_digits()
    order = rng.permutation(len(digits.images))
    splits = {"val": order[:VAL], "test": order[VAL : VAL + TEST], "train": order[VAL + TEST :]}
    for split, members in splits.items():
        for member in members:
            label = int(digits.target[member])
            picture, evidence = _digit(digits.images[member], size)
            item = Item(
                name=f"digit-{member:04d}",
                label=CLASSES[label],
                split=split,
                image=_with_patch(picture, label),
                evidence=evidence,
            )
            yield item
            if split != "train":
                hue = int(rng.integers(len(CLASSES)))
                yield shifted(item, _with_patch(picture, hue))


def _digit(pixels: NDArray[np.float64], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return one digit, white on black, in the middle half of the image, and the digit's box."""
    side, offset = size // 2, size // 4
    small = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
    picture = np.zeros((size, size, 3), np.uint8)
    enlarged = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    picture[offset : offset + side, offset : offset + side] = enlarged[:, :, None]
    evidence = np.zeros((size, size), bool)
    evidence[offset : offset + side, offset : offset + side] = True
    return picture, evidence


def _with_patch(picture: NDArray[np.uint8], hue: int) -> NDArray[np.uint8]:
    """Return a copy with one of ten hues in the top left corner, an eighth of the side."""
    side = len(picture) // 8
    colour = np.array(colorsys.hsv_to_rgb(hue / len(CLASSES), 1.0, 1.0)) * 255
    patched = picture.copy()
    patched[:side, :side] = colour.astype(np.uint8)
    return patched
