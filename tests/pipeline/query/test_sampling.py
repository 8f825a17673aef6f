"""Every strategy ranks all images, repeatably, and as worked by hand."""

import math

import numpy as np
import pytest
import torch

from pipeline.errors import NumericalError
from pipeline.query.sampling import STRATEGIES, entropy, scores, top


def test_entropy_runs_from_certain_to_undecided():
    logits = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -100.0]])
    assert entropy(logits).tolist() == pytest.approx([0.0, 1.0, math.log(2) / math.log(3)], abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_of_a_diverged_network_are_an_error(bad):
    with pytest.raises(NumericalError, match="not finite"):
        entropy(torch.tensor([[bad, 0.0]]))


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestAnyStrategy:
    """The conformance test of every strategy."""

    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(40) % 3

    def test_each_image_has_a_score_and_scores_repeat(self, strategy):
        found = scores(self.logits, self.labels, strategy=strategy)
        assert found.shape == (40,)
        assert torch.isfinite(found).all()
        assert torch.equal(found, scores(self.logits, self.labels, strategy=strategy))

    def test_all_images_can_become_queries(self, strategy):
        found = scores(self.logits, self.labels, strategy=strategy)
        assert sorted(top(found, 40)) == list(range(40))
        assert top(found, 40)[:7] == top(found, 7)
        with pytest.raises(ValueError, match="only 40"):
            top(found, 41)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_infinite_and_nan_logits_are_an_error(self, strategy, bad):
        logits = self.logits.clone()
        logits[5, 1] = bad
        with pytest.raises(NumericalError, match="not finite"):
            scores(logits, self.labels, strategy=strategy)

    def test_extreme_logits_still_have_an_order(self, strategy):
        found = scores(self.logits * 1e30, self.labels, strategy=strategy)
        assert torch.isfinite(found).all()

    def test_an_images_score_depends_on_nothing_but_the_image(self, strategy):
        if strategy == "random":
            first, again, other = (
                top(scores(self.logits, self.labels, strategy=strategy, seed=seed), 40) for seed in (1, 1, 2)
            )
            assert first == again != other
            return
        found = scores(self.logits, self.labels, strategy=strategy)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
        assert torch.equal(scores(self.logits[order], self.labels[order], strategy=strategy, seed=1), found[order])
        same = scores(self.logits[:1].expand(5, 3), self.labels[:1].expand(5), strategy=strategy)
        assert top(same, 5) == [0, 1, 2, 3, 4]  # a tie keeps the given order

    def test_shifted_logits_are_the_same_prediction(self, strategy):
        found = scores(self.logits, self.labels, strategy=strategy)
        assert torch.allclose(scores(self.logits + 5, self.labels, strategy=strategy), found, atol=1e-6)


def test_the_strategies_differ_where_they_should():
    # Undecided between two of three classes, between all three, sure and right, sure and wrong.
    p = torch.tensor([[0.49, 0.49, 0.02], [0.42, 0.30, 0.28], [0.98, 0.01, 0.01], [0.01, 0.98, 0.01]])
    labels = torch.tensor([0, 1, 0, 0])
    order = {name: top(scores(p.log(), labels, strategy=name), 4) for name in STRATEGIES}
    assert order["entropy"] == [1, 0, 2, 3]
    assert order["margin"] == [0, 1, 2, 3]
    assert order["least-confident"] == [1, 0, 2, 3]
    assert order["confident-mistakes"] == [3, 1, 0, 2]  # wrong: the surest first; right: the least sure first


def test_scores_worked_by_hand():
    logits, label = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([0])
    h = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3)
    expected = {"entropy": h, "margin": 0.5, "least-confident": 0.3, "confident-mistakes": h}
    assert {name: scores(logits, label, strategy=name).item() for name in expected} == pytest.approx(expected)
    assert scores(logits, label + 1, strategy="confident-mistakes").item() == pytest.approx(3 - h)


def test_spread_entropy_is_the_sum_of_two_ranks():
    # Entropies rise from the first image to the last. The spreader doubts the first and the third most.
    logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    labels, doubt = torch.zeros(4, dtype=torch.int64), np.array([0.9, 0.1, 0.9, 0.2])
    found = scores(logits, labels, strategy="spread-entropy", doubt=doubt)
    assert found.tolist() == [1 + 3.5, 2 + 1, 3 + 3.5, 4 + 2]
    assert top(found, 4) == [2, 3, 0, 1]
    certain = np.zeros(4)  # a spreader that knows everything says nothing
    assert top(scores(logits, labels, strategy="spread-entropy", doubt=certain), 4) == [3, 2, 1, 0]
    scaled = scores(logits, labels, strategy="spread-entropy", doubt=doubt / 100)
    assert torch.equal(scaled, found), "the scale of a doubt does not count"


def test_without_a_spreader_spread_entropy_is_entropy():
    logits, labels = TestAnyStrategy.logits, TestAnyStrategy.labels
    alone, doubted = (scores(logits, labels, strategy="spread-entropy", doubt=d) for d in (None, np.arange(40.0)))
    assert torch.equal(alone, scores(logits, labels, strategy="entropy"))
    assert top(doubted, 40) != top(alone, 40)
    assert torch.equal(scores(logits, labels, strategy="entropy", doubt=np.arange(40.0)), alone)


def test_top_takes_the_highest_and_keeps_the_order_of_equals():
    scores = torch.tensor([0.1, 0.5, 0.5, 0.9, 0.5])
    assert top(scores, 3) == [3, 1, 2]
    assert top(scores, 5) == [3, 1, 2, 4, 0]


def test_more_queries_than_images_is_an_error():
    with pytest.raises(ValueError, match="3 queries requested, but there are only 2 images"):
        top(torch.zeros(2), 3)
