"""Which images are asked about (sampling) and which regions of them (proposals)."""

import math

import numpy as np
import pytest
import torch

from pipeline.proposals import grid
from pipeline.sampling import STRATEGIES, entropy, scores, top


def test_entropy_runs_from_certain_to_undecided():
    logits = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -100.0]])
    assert entropy(logits).tolist() == pytest.approx([0.0, 1.0, math.log(2) / math.log(3)], abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_network_that_diverged_is_an_error_and_not_certain(bad):
    with pytest.raises(ValueError, match="not finite"):
        entropy(torch.tensor([[bad, 0.0]]))


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestAnyStrategy:
    """What holds for each of them: the conformance test of a new one."""

    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(40) % 3

    def test_it_gives_each_image_a_score_and_the_same_again(self, strategy):
        found = scores(strategy, self.logits, self.labels)
        assert found.shape == (40,)
        assert torch.isfinite(found).all()
        assert torch.equal(found, scores(strategy, self.logits, self.labels))

    def test_all_images_can_be_asked_about(self, strategy):
        found = scores(strategy, self.logits, self.labels)
        assert sorted(top(found, 40)) == list(range(40))
        assert top(found, 40)[:7] == top(found, 7)
        with pytest.raises(ValueError, match="only 40"):
            top(found, 41)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_logits_that_are_no_numbers_are_an_error(self, strategy, bad):
        logits = self.logits.clone()
        logits[5, 1] = bad
        with pytest.raises(ValueError, match="not finite"):
            scores(strategy, logits, self.labels)

    def test_extreme_logits_still_have_an_order(self, strategy):
        found = scores(strategy, self.logits * 1e30, self.labels)
        assert torch.isfinite(found).all()

    def test_an_images_score_depends_on_nothing_but_the_image(self, strategy):
        if strategy == "random":
            first, again, other = (top(scores(strategy, self.logits, self.labels, seed), 40) for seed in (1, 1, 2))
            assert first == again != other
            return
        found = scores(strategy, self.logits, self.labels)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
        assert torch.equal(scores(strategy, self.logits[order], self.labels[order], seed=1), found[order])
        same = scores(strategy, self.logits[:1].expand(5, 3), self.labels[:1].expand(5))
        assert top(same, 5) == [0, 1, 2, 3, 4]  # a tie keeps the given order

    def test_shifted_logits_are_the_same_prediction(self, strategy):
        found = scores(strategy, self.logits, self.labels)
        assert torch.allclose(scores(strategy, self.logits + 5, self.labels), found, atol=1e-6)


def test_the_strategies_differ_where_they_should():
    # Undecided between two of three classes, between all three, sure and right, sure and wrong.
    p = torch.tensor([[0.49, 0.49, 0.02], [0.42, 0.30, 0.28], [0.98, 0.01, 0.01], [0.01, 0.98, 0.01]])
    labels = torch.tensor([0, 1, 0, 0])
    order = {name: top(scores(name, p.log(), labels), 4) for name in STRATEGIES}
    assert order["entropy"] == [1, 0, 2, 3]
    assert order["margin"] == [0, 1, 2, 3]
    assert order["least-confident"] == [1, 0, 2, 3]
    assert order["confident-mistakes"] == [3, 1, 0, 2]  # wrong: the surest first; right: the least sure first


def test_scores_worked_by_hand():
    logits, label = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([0])
    h = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3)
    expected = {"entropy": h, "margin": 0.5, "least-confident": 0.3, "confident-mistakes": h}
    assert {name: scores(name, logits, label).item() for name in expected} == pytest.approx(expected)
    assert scores("confident-mistakes", logits, label + 1).item() == pytest.approx(3 - h)


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
