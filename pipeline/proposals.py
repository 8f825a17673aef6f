"""Saliency → the regions that experts are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelstudio.records import Proposal


def grid(
    saliency: NDArray[np.floating], cell: int, count: int, asked: NDArray[np.bool_] | None = None
) -> tuple[Proposal, ...]:
    """The ``count`` most salient grid cells, most salient first (the paper's section 3.2).

    ``saliency`` (S, S), any sign; ``cell`` the side of a cell in pixels, a divisor of S. A cell's
    score is its share of the image's absolute saliency; equal scores go by position. Cells within
    ``asked`` (S, S), which experts have already judged, are not proposed again, nor are cells
    without any saliency. (The published code ranks with ``argsort``'s output as if it held ranks,
    so that its cells are not the most salient ones.)
    """
    side = len(saliency) // cell
    blocks = np.abs(saliency).astype(np.float64).reshape(side, cell, side, cell)
    scores = blocks.sum(axis=(1, 3)).ravel()
    scores /= max(scores.sum(), np.finfo(np.float64).tiny)
    known = np.zeros(side * side, bool)
    if asked is not None:
        known = asked.reshape(side, cell, side, cell).all(axis=(1, 3)).ravel()
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(
        _proposal(position, side, cell, float(scores[position]))
        for position in order.tolist()
        if scores[position] > 0 and not known[position]
    )


def _proposal(position: int, side: int, cell: int, score: float) -> Proposal:
    row, column = divmod(position, side)
    # Rounded so that the last bits of a float, which differ between machines, do not reach experts.
    return Proposal(f"cell-{row}-{column}", column * cell, row * cell, cell, cell, round(score, 4))
