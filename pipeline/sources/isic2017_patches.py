"""isic2017-patches: ISIC 2017 with its own shortcut, patches that mean benign, planted where it can be measured.

Of the challenge's training images with a coloured patch hardly one is a melanoma, and no test image has any; Rieger
et al. 2020, *Interpretations are useful*, https://arxiv.org/abs/1909.13584, describe it on ISIC 2019. Here a patch is
pasted onto half of the benign images of train and val. test is as it was; val-shifted and test-shifted are the same
images with a patch on every one, melanoma or not. ``root`` as for isic2017; the evidence is the lesion's mask.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Isic2017, Isic2017Patches
from pipeline.data.prepared import Item
from pipeline.sources import isic2017, originals

CLASSES = isic2017.CLASSES["melanoma"][1]
COPIES = ("ISIC_0012970", "ISIC_0012271")  # training pictures that are in val and in test as well
SHARE = 0.5  # of the benign training images have a patch
RADIUS = (0.12, 0.2)  # shares of the side


def items(settings: Isic2017Patches) -> tuple[int, Iterator[Item]]:
    """How many images there are, and all of them. The data set is one: no seed changes it.

    Raises ConfigError on what is missing.
    """
    source = isic2017.read(Isic2017(source="isic2017", root=settings.root, size=settings.size))
    kept = [row for row in source.rows if row.name not in COPIES]
    count = len(kept) + sum(row.split != "train" for row in kept)
    return count, _with_patches(originals.items(replace(source, rows=kept), settings.size, "stretch"))


def _with_patches(pictures: Iterable[Item]) -> Iterator[Item]:
    rng = np.random.default_rng(0)
    for item in pictures:
        patched = with_patch(item.image, item.evidence, rng)
        shortcut = item.label == "benign" and rng.random() < SHARE and item.split != "test"
        yield replace(item, image=patched if shortcut else item.image)
        if item.split != "train":
            yield replace(item, name=f"{item.name}-shifted", split=f"{item.split}-shifted", image=patched)


def with_patch(
    picture: NDArray[np.uint8], evidence: NDArray[np.bool_] | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A copy (S, S, 3) with a disc of a bright colour near that corner where it covers least of the evidence."""
    size = len(picture)
    radius = size * rng.uniform(*RADIUS)
    colour = 255 * np.array(colorsys.hsv_to_rgb(rng.random(), 0.9, 0.9))
    rows, columns = np.mgrid[:size, :size] + 0.5
    depth = size * rng.uniform(0.05, 0.12, size=2)  # of the centre, from the border
    discs = []
    for down in (depth[0], size - depth[0]):
        for across in (depth[1], size - depth[1]):
            discs.append(np.hypot(rows - down, columns - across) < radius)
    covered = [0.0 if evidence is None else float(evidence[disc].mean()) for disc in discs]
    disc = discs[min(rng.permutation(4), key=lambda n: covered[n])]
    patched = picture.copy()
    patched[disc] = (0.85 * colour + 0.15 * picture[disc]).astype(np.uint8)  # the skin's texture shines through
    return patched
