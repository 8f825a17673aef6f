"""Query strategies: they rank the training images for the experts (paper, section 3.1).

The paper uses entropy. Entropy, margin and least confident are in Settles 2009, *Active Learning Literature Survey*,
section 3.1.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.distributions import Categorical

from pipeline.choices import Strategy, assert_known
from pipeline.errors import NumericalError


class Scorer(Protocol):
    """A function from logits, labels and a random generator to scores."""

    def __call__(self, logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        """Return scores (N,) of images with logits (N, C) and class numbers (N,); experts see high scores first."""
        ...


def scores(logits: Tensor, labels: Tensor, *, strategy: Strategy, seed: int = 0) -> Tensor:
    """Return the score of each image; experts see high scores first.

    Args:
        logits: The images' logits (N, C).
        labels: Their class numbers (N,).
        strategy: A key of ``STRATEGIES``.
        seed: The seed of the strategy `random`; the others draw nothing.

    Returns:
        Scores (N,).

    Raises:
        ValueError: The strategy is unknown, or there are fewer than two classes.
        NumericalError: Logits are infinite or NaN. They would otherwise rank as the most certain.
    """
    assert_known(strategy, Strategy, "strategy")
    return STRATEGIES[strategy](_finite(logits), labels, torch.Generator().manual_seed(seed))


def top(scores: Tensor, count: int) -> list[int]:
    """Return the positions of the ``count`` highest scores, highest first; equal scores keep their order.

    Raises ValueError for fewer than ``count`` scores, and NumericalError for a score of NaN.
    """
    if torch.isnan(scores).any():
        raise NumericalError("a score is NaN, so it has no rank. Fix: score images with finite logits")
    if count > len(scores):
        raise ValueError(
            f"{count} queries requested, but there are only {len(scores)} images. Fix: lower the number of queries"
        )
    order = torch.sort(scores, descending=True, stable=True).indices
    return [int(position) for position in order[:count]]


def entropy(logits: Tensor) -> Tensor:
    """Return the predictive entropy of logits (N, C) over log(C): (N,), from 0 (certain) to 1 (undecided).

    Shannon 1948, *A Mathematical Theory of Communication*. Raises NumericalError on infinite or NaN logits.
    """
    return (_distribution(_finite(logits)).entropy() / math.log(logits.shape[1])).clamp(0, 1)


def _entropy(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    return entropy(logits)


def _margin(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Score a small lead of the likeliest class over the second high."""
    first, second = _distribution(logits).probs.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


def _least_confident(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Score a low probability of the likeliest class high."""
    return 1 - _distribution(logits).probs.amax(dim=1)


def _confident_mistakes(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Score mistakes highest, certain mistakes first; then correct predictions, uncertain ones first.

    The paper's published code offers this strategy beside entropy.
    """
    uncertainty = entropy(logits)
    return torch.where(logits.argmax(dim=1) == labels, uncertainty, 3 - uncertainty)  # 0..1 and 2..3


def _random(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Score at random: the baseline of all strategies."""
    return torch.rand(len(logits), generator=generator, dtype=torch.float64)


STRATEGIES: dict[Strategy, Scorer] = {
    "entropy": _entropy,
    "margin": _margin,
    "least-confident": _least_confident,
    "confident-mistakes": _confident_mistakes,
    "random": _random,
}


def _finite(logits: Tensor) -> Tensor:
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"a strategy needs logits (N, C) of two classes or more, but they are {tuple(logits.shape)}. "
            "Fix: give each class a logit; a single logit z is (-z / 2, z / 2)"
        )
    if not torch.isfinite(logits).all():
        raise NumericalError("the logits are not finite: training diverged. Fix: lower `train.learning_rate`")
    return logits


def _distribution(logits: Tensor) -> Categorical:
    return Categorical(logits=logits.double())
