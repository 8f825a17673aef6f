"""Which images are asked about (sampling) and which regions of them (proposals)."""

import math

import numpy as np
import pytest
import torch

from pipeline.proposals import grid
from pipeline.sampling import entropy, top


def test_entropy_runs_from_certain_to_undecided():
    logits = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -100.0]])
    assert entropy(logits).tolist() == pytest.approx([0.0, 1.0, math.log(2) / math.log(3)], abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_network_that_diverged_is_an_error_and_not_certain(bad):
    with pytest.raises(ValueError, match="not finite"):
        entropy(torch.tensor([[bad, 0.0]]))


def test_top_takes_the_highest_and_keeps_the_order_of_equals():
    scores = torch.tensor([0.1, 0.5, 0.5, 0.9, 0.5])
    assert top(scores, 3) == [3, 1, 2]
    assert top(scores, 5) == [3, 1, 2, 4, 0]


def test_more_queries_than_images_is_an_error():
    with pytest.raises(ValueError, match="3 queries asked for, but only 2"):
        top(torch.zeros(2), 3)


def test_grid_proposes_the_most_salient_cells_in_order():
    rng = np.random.default_rng(0)
    saliency = rng.normal(size=(48, 48))
    cells = {(r, c): np.abs(saliency[r * 8 : r * 8 + 8, c * 8 : c * 8 + 8]).sum() for r in range(6) for c in range(6)}
    expected = sorted(cells, key=lambda cell: -cells[cell])[:10]
    proposals = grid(saliency, 8, 10)
    assert [(p.y // 8, p.x // 8) for p in proposals] == expected
    assert [p.id for p in proposals] == [f"cell-{r}-{c}" for r, c in expected]
    assert all((p.width, p.height) == (8, 8) for p in proposals)
    assert proposals[0].score == pytest.approx(cells[expected[0]] / np.abs(saliency).sum(), abs=1e-4)


def test_the_published_ranking_is_not_the_most_salient_cells():
    # The reference code compares argsort's output with k as if it held ranks.
    saliency = np.random.default_rng(0).random((64, 64))
    totals = saliency.reshape(8, 8, 8, 8).sum(axis=(1, 3)).ravel()
    published = set(np.flatnonzero(np.argsort(totals) >= 54).tolist())
    ours = {p.y // 8 * 8 + p.x // 8 for p in grid(saliency, 8, 10)}
    assert ours == set(np.argsort(totals)[-10:].tolist())
    assert ours != published


def test_cells_that_experts_judged_are_not_proposed_again():
    saliency = np.random.default_rng(0).random((32, 32))
    first = grid(saliency, 8, 4)
    asked = np.zeros((32, 32), bool)
    for p in first[:3]:
        asked[p.y : p.y + 8, p.x : p.x + 8] = True
    assert grid(saliency, 8, 4, asked) == first[3:]
    assert grid(saliency, 8, 4, np.ones((32, 32), bool)) == ()


def test_cells_without_saliency_are_not_proposed():
    saliency = np.zeros((16, 16))
    saliency[0, 0] = -3.0
    assert [p.id for p in grid(saliency, 8, 4)] == ["cell-0-0"]
    assert grid(np.zeros((16, 16)), 8, 4) == ()
