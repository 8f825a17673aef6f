"""Proposals: the most salient regions of an image, which experts judge (paper, section 3.2).

The regions of one query never overlap: each pixel of an answer belongs to one proposal at most.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelstudio.exchange.geometry import Mask, pixels
from labelstudio.exchange.records import Proposal
from pipeline.choices import Rank, Regions, assert_known
from pipeline.data.draws import rng_of
from pipeline.errors import NumericalError

Labels = NDArray[np.integer]  # (S, S): the number of a pixel's region, from 1; 0 belongs to none


def propose(
    saliency: NDArray[np.floating],
    picture: NDArray[np.uint8],
    *,
    kind: Regions,
    rank: Rank,
    cell: int,
    count: int,
    asked: Mask | None = None,
    at_random: int = 0,
    seed: int = 0,
) -> tuple[Proposal, ...]:
    """Return the most salient regions of a picture, most salient first; equal regions by position.

    A region without saliency is not salient. A polygon covers the part of its region that no more salient region
    covers; it is left out if no simple polygon fits there. Departure: the published code takes ``argsort``'s output for
    ranks, so that its cells are not the most salient ones.

    Args:
        saliency: Signed saliency (S, S).
        picture: The image (S, S, 3), for superpixels.
        kind: Squares of a grid, as in the paper; connected blobs of salient pixels; or superpixels.
        rank: Rank by absolute saliency, or by evidence for the explained class alone (``signed``).
        cell: The side of a square in pixels, a divisor of S; for the other kinds, a region's typical side.
        count: The number of regions to rank.
        asked: Pixels (S, S) that experts have judged; regions with at least half of them there are left out.
        at_random: How many of them are not the most salient ones but drawn from all others, at equal chances.
        seed: The seed of this draw, which also depends on the picture.

    Returns:
        Up to ``count`` proposals. A score is the region's share of the image's saliency.

    Raises:
        ValueError: A word is unknown, or sizes and numbers do not fit.
        NumericalError: Saliency is infinite or NaN.
    """
    assert_known(kind, Regions, "kind of regions")
    assert_known(rank, Rank, "rank")
    _assert_fitting(saliency, picture, asked, grid_cell=cell if kind == "grid" else None)
    if not (cell >= 1 and 0 <= at_random <= count):
        raise ValueError(
            f"cell is {cell}, count is {count}, and at_random is {at_random}. "
            "Fix: choose cell >= 1 and 0 <= at_random <= count"
        )
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
    judged = _judged(labels, asked)
    order = np.argsort(-scores, kind="stable")
    salient = [n for n in order[: count - at_random].tolist() if scores[n] > 0 and n not in judged]
    others = np.setdiff1d(order[count - at_random :], [0, *judged])
    found: list[tuple[float, Proposal]] = []
    for label in [*salient, *rng_of(picture.tobytes(), seed).permutation(others)[:at_random].tolist()]:
        region = labels == label
        if kind == "grid":
            proposal: Proposal | None = _cell(label, len(free), cell)
        else:
            proposal = _drawn(region, free, cell, kind.removesuffix("s"))
        if proposal is not None:
            taken = pixels(proposal, *free.shape[::-1])
            free &= ~taken
            found.append((float(shares[taken].sum()), proposal))
    found.sort(key=lambda pair: -pair[0])
    # The last bits of a float differ between machines: rounding keeps them out of the queries.
    return tuple(replace(proposal, score=round(score, 4)) for score, proposal in found)


def outlined(area: Mask) -> tuple[Proposal, ...]:
    """Return each connected part of an area (S, S) as a polygon without its holes, to be shown."""
    parts, count = ndimage.label(area)
    found = [_drawn(parts == part, np.ones_like(parts, bool), 1, "before") for part in range(1, count + 1)]
    return tuple(part for part in found if part is not None)


def _assert_fitting(
    saliency: NDArray[np.floating], picture: NDArray[np.uint8], asked: Mask | None, grid_cell: int | None
) -> None:
    size = saliency.shape
    if (
        len(size) != 2
        or size[0] != size[1]
        or picture.shape != (*size, 3)
        or (asked is not None and asked.shape != size)
    ):
        shapes = f"{size}, {picture.shape}" + ("" if asked is None else f" and {asked.shape}")
        raise ValueError(
            f"saliency and judged pixels must be (S, S) and the picture (S, S, 3), but they are {shapes}. "
            "Fix: crop or resize them to one square"
        )
    if grid_cell and size[0] % grid_cell:
        raise ValueError(
            f"cells of {grid_cell} pixels do not fill a picture of {size[0]}. Fix: choose a divisor of {size[0]}"
        )
    if not np.isfinite(saliency).all():
        raise NumericalError(
            "the saliency is infinite or NaN, so it ranks no region. Fix: explain a network that has not diverged"
        )


def _judged(labels: Labels, asked: Mask | None) -> set[int]:
    """Return the numbers of the regions of which experts have judged at least half."""
    if asked is None:
        return set()
    pixels_of, judged = np.bincount(labels.ravel()), np.bincount(labels[asked], minlength=int(labels.max()) + 1)
    return set(np.flatnonzero((pixels_of > 0) & (2 * judged >= pixels_of)).tolist())


def _grid(size: int, cell: int) -> Labels:
    row = np.arange(size) // cell
    return 1 + row[:, None] * (size // cell) + row


def _blobs(shares: NDArray[np.float64], cell: int, count: int) -> Labels:
    """Return the connected parts of the most salient pixels, as many pixels as ``count`` cells; drop specks."""
    smooth = ndimage.gaussian_filter(shares, cell / 4)
    salient = np.zeros(shares.size, bool)
    salient[np.argsort(-smooth, axis=None, kind="stable")[: count * cell**2]] = True
    labels, _ = ndimage.label(salient.reshape(shares.shape) & (smooth > 0))
    specks = np.bincount(labels.ravel()) < (cell / 4) ** 2
    labels[specks[labels]] = 0
    return labels


def _superpixels(picture: NDArray[np.uint8], cell: int) -> Labels:
    """Return SLIC's segments (Achanta et al. 2012), about as many as cells of a grid."""
    from skimage.segmentation import slic  # takes a second to import

    return slic(picture, n_segments=round((len(picture) / cell) ** 2), start_label=1, channel_axis=-1)


def _cell(label: int, size: int, cell: int) -> Proposal:
    row, column = divmod(label - 1, size // cell)
    return Proposal(f"cell-{row}-{column}", column * cell, row * cell, cell, cell, 0.0)


def _drawn(region: Mask, free: Mask, cell: int, name: str) -> Proposal | None:
    """Return the free part of a region as a polygon, as coarse as possible without covering taken pixels."""
    to_taken = np.full(free.shape, np.inf) if free.all() else ndimage.distance_transform_edt(free)
    for tolerance in (cell / 8, cell / 16, 0.0):
        # Sides move by up to the tolerance, so the polygon keeps this distance from taken pixels.
        points = _outline(region & (to_taken > tolerance), tolerance)
        if len(points) < 3:
            continue
        x, y = floor(min(x for x, _ in points)), floor(min(y for _, y in points))
        width, height = ceil(max(x for x, _ in points)) - x, ceil(max(y for _, y in points)) - y
        proposal = Proposal(name, x, y, width, height, 0.0, points)
        covered = pixels(proposal, *region.shape[::-1])
        if covered.any() and not (covered & ~free).any():
            # Regions do not overlap, so no two of them start with the same pixel.
            row, column = np.argwhere(covered)[0]
            return replace(proposal, id=f"{name}-{row}-{column}")
    return None


def _outline(region: Mask, tolerance: float) -> tuple[tuple[float, float], ...]:
    """Return the corners (x, y) of a region's largest part without its holes; tolerance 0 keeps every pixel."""
    from skimage.measure import approximate_polygon, find_contours

    parts, _ = ndimage.label(region)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return ()
    # find_contours connects 8 neighbours of the background and 4 of the region: then there is one contour.
    whole = ndimage.binary_fill_holes(parts == 1 + sizes.argmax(), np.ones((3, 3)))
    (contour,) = find_contours(np.pad(whole, 1).astype(float), 0.5)
    corners = approximate_polygon(contour, tolerance)[:-1] - 0.5  # minus the padding, plus a pixel's centre at 0.5
    return tuple((float(x), float(y)) for y, x in corners)
