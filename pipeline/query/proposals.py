"""Saliency → the regions that experts are shown.

Regions of one query never overlap, so that every pixel of an answer belongs to one proposal.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelstudio.exchange.records import Proposal
from labelstudio.exchange.regions import Mask, pixels

Labels = NDArray[np.integer]  # (S, S): which region a pixel is of, from 1; 0 is of none


def propose(
    saliency: NDArray[np.floating],
    picture: NDArray[np.uint8],
    kind: Literal["grid", "blobs", "superpixels"],
    rank: Literal["absolute", "signed"],
    cell: int,
    count: int,
    asked: Mask | None = None,
) -> tuple[Proposal, ...]:
    """The ``count`` most salient regions of a picture, most salient first.

    ``saliency`` (S, S), any sign; ``picture`` (S, S, 3), for superpixels; ``cell``: the side of a
    region in pixels, roughly, except in a grid (the paper's section 3.2), where it divides S. A
    region's score is its share of the image's saliency: absolute, or only that which speaks for
    the explained class (``rank="signed"``). Regions of the same saliency go by position.

    Of these regions, those without saliency are left out, and those of which at least half is in
    ``asked`` (S, S), which experts have already judged. What remains of a region beside more
    salient ones is drawn as a simple polygon, or left out if it cannot be drawn beside them. (The
    published code ranks with ``argsort``'s output as if it held ranks, so that its cells are not the
    most salient ones.)
    """
    weight = np.abs(saliency) if rank == "absolute" else np.maximum(saliency, 0)
    shares = weight.astype(np.float64) / max(float(weight.sum(dtype=np.float64)), np.finfo(np.float64).tiny)
    if kind == "grid":
        labels = _grid(len(shares), cell)
    elif kind == "blobs":
        labels = _blobs(shares, cell, count)
    else:
        labels = _superpixels(picture, cell)
    scores = np.bincount(labels.ravel(), shares.ravel())
    scores[0] = 0
    free = np.ones(labels.shape, bool)
    found: list[tuple[float, Proposal]] = []
    for label in np.argsort(-scores, kind="stable")[:count].tolist():
        region = labels == label
        if scores[label] <= 0 or (asked is not None and 2 * asked[region].sum() >= region.sum()):
            continue
        if kind == "grid":
            proposal: Proposal | None = _cell(label, len(free), cell)
        else:
            proposal = _drawn(region, free, cell, kind.removesuffix("s"))
        if proposal is not None:
            taken = pixels(proposal, *free.shape[::-1])
            free &= ~taken
            found.append((float(shares[taken].sum()), proposal))
    found.sort(key=lambda pair: -pair[0])
    # Rounded so that the last bits of a float, which differ between machines, do not reach experts.
    return tuple(replace(proposal, score=round(score, 4)) for score, proposal in found)


def outlined(area: Mask) -> tuple[Proposal, ...]:
    """Each part of an area (S, S) that hangs together as a polygon, without its holes: to be shown."""
    parts, count = ndimage.label(area)
    found = [_drawn(parts == part, np.ones_like(parts, bool), 1, "before") for part in range(1, count + 1)]
    return tuple(part for part in found if part is not None)


def _grid(size: int, cell: int) -> Labels:
    row = np.arange(size) // cell
    return 1 + row[:, None] * (size // cell) + row


def _blobs(shares: NDArray[np.float64], cell: int, count: int) -> Labels:
    """What hangs together of the most salient pixels, as many as ``count`` cells have; specks are dropped."""
    smooth = ndimage.gaussian_filter(shares, cell / 4)
    salient = np.zeros(shares.size, bool)
    salient[np.argsort(-smooth, axis=None, kind="stable")[: count * cell**2]] = True
    labels, _ = ndimage.label(salient.reshape(shares.shape) & (smooth > 0))
    specks = np.bincount(labels.ravel()) < (cell / 4) ** 2
    labels[specks[labels]] = 0
    return labels


def _superpixels(picture: NDArray[np.uint8], cell: int) -> Labels:
    """SLIC's segments (Achanta et al. 2012), about as many as there are cells."""
    from skimage.segmentation import slic  # takes a second: only where it is wanted

    return slic(picture, n_segments=round((len(picture) / cell) ** 2), start_label=1, channel_axis=-1)


def _cell(label: int, size: int, cell: int) -> Proposal:
    row, column = divmod(label - 1, size // cell)
    return Proposal(f"cell-{row}-{column}", column * cell, row * cell, cell, cell, 0.0)


def _drawn(region: Mask, free: Mask, cell: int, name: str) -> Proposal | None:
    """What is free of the region as a polygon, as coarse as it may be without covering what is not free."""
    to_taken = np.full(free.shape, np.inf) if free.all() else ndimage.distance_transform_edt(free)
    for tolerance in (cell / 8, cell / 16, 0.0):
        # Sides move by up to the tolerance: so much room is left beside what is taken.
        points = _outline(region & (to_taken > tolerance), tolerance)
        if len(points) < 3:
            continue
        x, y = floor(min(x for x, _ in points)), floor(min(y for _, y in points))
        width, height = ceil(max(x for x, _ in points)) - x, ceil(max(y for _, y in points)) - y
        proposal = Proposal(name, x, y, width, height, 0.0, points)
        covered = pixels(proposal, *region.shape[::-1])
        if covered.any() and not (covered & ~free).any():
            # Regions do not overlap, so no two of them begin with the same pixel.
            row, column = np.argwhere(covered)[0]
            return replace(proposal, id=f"{name}-{row}-{column}")
    return None


def _outline(region: Mask, tolerance: float) -> tuple[tuple[float, float], ...]:
    """Corners (x, y) of the region's largest part, without its holes; at tolerance 0 they give back its pixels."""
    from skimage.measure import approximate_polygon, find_contours

    parts, _ = ndimage.label(region)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return ()
    # With 8 neighbours to the background and 4 to the region, as find_contours has it, there is one contour.
    whole = ndimage.binary_fill_holes(parts == 1 + sizes.argmax(), np.ones((3, 3)))
    (contour,) = find_contours(np.pad(whole, 1).astype(float), 0.5)
    corners = approximate_polygon(contour, tolerance)[:-1] - 0.5  # the padding, and centres at halves
    return tuple((float(x), float(y)) for y, x in corners)
