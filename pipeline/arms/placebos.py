"""The placebos: arms that follow `hitl` round by round, without the knowledge in its marks.

A gain that a placebo shows as well was not gained by the experts' knowledge:

- ``random-mask``: equally many cells on the same images, placed at random;
- ``shuffled-mask``: each image gets the mask of another image, so marks are real but misplaced;
- ``weight-decay``: equally much W on the same images, spread evenly over all pixels. This is smoothness as such,
  Drucker and LeCun 1992, *Improving generalization performance using double backpropagation*;
- ``oversample-only``: no penalty; images with marks occur twice per epoch;
- ``as-published``: the experts' masks under the penalty of the paper's code, which reaches no weight.

Every placebo is a function of `hitl`'s entries: no expert is asked, and images and rounds are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.choices import Placebo, assert_known
from pipeline.config import Penalty
from pipeline.data.draws import rng_of
from pipeline.errors import ConfigError
from pipeline.feedback.cells import Grid
from pipeline.feedback.masks import Entry


def placebo(
    arm: Placebo, entries: list[Entry], *, penalty: Penalty, cell: int, seed: int
) -> tuple[list[Entry], Penalty]:
    """Return the masks and the penalty of a placebo, given the masks and the penalty of `hitl`.

    Args:
        arm: Which placebo.
        entries: The masks of all rounds of `hitl`.
        penalty: The penalty of `hitl`.
        cell: The side of a grid cell, pixels.
        seed: Seeds the choice of places and images.

    Returns:
        The placebo's masks and its penalty.

    Raises:
        ValueError: The placebo is unknown.
        ConfigError: Too few images have marks for `shuffled-mask`.
    """
    assert_known(arm, Placebo, "placebo")
    if arm == "random-mask":
        return _at_random(entries, cell, seed), penalty
    if arm == "shuffled-mask":
        return _shuffled(entries, seed), penalty
    if arm == "weight-decay":
        # Over all pixels, the share of the gradient's energy is always 1. Eq. 2's amount of energy has a meaning.
        is_share = penalty.form in ("share", "cosine", "late")
        return _evened(entries), penalty.model_copy(update={"form": "eq2", "weight": "auto"} if is_share else {})
    if arm == "oversample-only":
        return entries, penalty.model_copy(update={"weight": 0.0, "oversample": max(2, penalty.oversample)})
    return entries, penalty.model_copy(update={"form": "as-published"})


def _at_random(entries: list[Entry], cell: int, seed: int) -> list[Entry]:
    """Equally many grid cells with the same mean W; an area is rounded to whole cells.

    Like what is spread to an image, its places hardly change from round to round.
    """
    rng = np.random.default_rng(seed)
    placed = []
    for entry in entries:
        before = entry.mask
        grid, marked = Grid.of(len(before), cell), before[before > 0]
        chosen = np.zeros(grid.side**2, before.dtype)
        order = (rng if entry.kind != "spread" else rng_of(entry.image_id.encode(), seed)).permutation(len(chosen))
        chosen[order[: round(marked.size / cell**2)]] = marked.mean(dtype=float) if marked.size else 0
        placed.append(entry.with_mask(grid.area(chosen, len(before))))
    return placed


def _shuffled(entries: list[Entry], seed: int) -> list[Entry]:
    """Exchange masks at random so that none stays on its image; images without marks stay without.

    Experts' masks are exchanged among all rounds, and spread masks within their round.
    """
    parts: dict[str, list[int]] = {"experts": []}
    for n, entry in enumerate(entries):
        if entry.mask.any():
            parts.setdefault(entry.round if entry.kind == "spread" else "experts", []).append(n)
    given = {n: giver for part in parts.values() for n, giver in _exchanged(part, entries, seed).items()}
    return [entry.with_mask(entries[given.get(n, n)].mask) for n, entry in enumerate(entries)]


def _exchanged(marked: list[int], entries: list[Entry], seed: int) -> dict[int, int]:
    """Return for each of these entries another one, of another image, whose mask it gets."""
    order = np.random.default_rng(seed).permutation(marked)
    for shift in range(1, max(len(order), 2)):
        givers = np.roll(order, shift)
        if all(entries[a].image_id != entries[b].image_id for a, b in zip(order, givers, strict=True)):
            return {int(a): int(b) for a, b in zip(order, givers, strict=True)}
    raise ConfigError(
        "the placebo `shuffled-mask` needs marks on at least two images, and experts marked fewer. "
        "Fix: remove it from `hitl.placebos` in params.yaml"
    )


def _evened(entries: list[Entry]) -> list[Entry]:
    """Spread each image's W so far evenly over all of its pixels; evidence replaces earlier marks."""
    so_far: dict[str, NDArray[np.float32]] = {}
    even = []
    for entry in entries:
        earlier = so_far.get(entry.image_id) if entry.kind != "evidence" else None
        together = entry.mask if earlier is None else np.maximum(entry.mask, earlier)
        so_far[entry.image_id] = together
        even.append(entry.with_mask(np.full_like(together, together.mean(dtype=float))))
    return even
