"""isic2017-patches: ISIC 2017 with its own shortcut, patches that mean benign, planted where it can be measured.

Among the challenge's training images with a coloured patch, almost none is a melanoma, and no test image has a patch.
Rieger et al. 2020, *Interpretations are useful*, https://arxiv.org/abs/1909.13584, describe this shortcut on ISIC 2019.
Here half of the benign images of train and val get a patch. test is unchanged. val-shifted and test-shifted show the
same images with a patch on each, melanoma or not. ``root`` as for isic2017; the evidence is the lesion's mask.
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
from pipeline.sources.source import Generated, shifted

CLASSES = isic2017.CLASSES["melanoma"][1]
SHARE = 0.5  # of the benign training images have a patch
RADIUS = (0.12, 0.2)  # shares of the side


def read(settings: Isic2017Patches) -> Generated:
    """Return all images, with their patches. The data set is fixed: no seed changes it.

    Raises DataError as isic2017.read does.
    """
    source = isic2017.read(Isic2017(source="isic2017", root=settings.root, size=settings.size))
    kept = [row for row in source.rows if row.name not in isic2017.COPIES]
    count = len(kept) + sum(row.split != "train" for row in kept)
    pictures = originals.items(replace(source, rows=kept), settings.size, "stretch")
    return Generated(CLASSES, count, _with_patches(pictures))


def _with_patches(pictures: Iterable[Item]) -> Iterator[Item]:
    rng = np.random.default_rng(0)
    for item in pictures:
        patched = with_patch(item.image, item.evidence, rng)
        shortcut = item.label == "benign" and rng.random() < SHARE and item.split != "test"
        yield replace(item, image=patched if shortcut else item.image)
        if item.split != "train":
            yield shifted(item, patched)


def with_patch(
    picture: NDArray[np.uint8], evidence: NDArray[np.bool_] | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a copy (S, S, 3) with a bright disc near one corner, where the disc covers least of the evidence."""
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
