"""Query strategies: they rank the training images for the experts (paper, section 3.1).

The paper uses entropy. Entropy, margin and least confident are in Settles 2009, *Active Learning Literature Survey*,
section 3.1. `spread-entropy` also asks where the answers so far do not say what must not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Generator, Tensor
from torch.distributions import Categorical

from pipeline.choices import Strategy, assert_known
from pipeline.errors import NumericalError
from pipeline.models import outputs


@dataclass(frozen=True)
class Readings:
    """The known numbers of N images.

    Attributes:
        logits: The logits (N, C) of the network in training.
        labels: The class numbers (N,).
        doubt: How unsure the spreader is about each image's cells (N,); None before there is a spreader.
    """

    logits: Tensor
    labels: Tensor
    doubt: NDArray[np.float64] | None = None


class Scorer(Protocol):
    """A function from readings and a random generator to scores."""

    def __call__(self, images: Readings, generator: Generator) -> Tensor:
        """Return the scores (N,) of some images; experts see high scores first."""
        ...


def scores(
    logits: Tensor, labels: Tensor, *, strategy: Strategy, seed: int = 0, doubt: NDArray[np.float64] | None = None
) -> Tensor:
    """Return the score of each image; experts see high scores first.

    Args:
        logits: The images' logits (N, C).
        labels: Their class numbers (N,).
        strategy: A key of ``STRATEGIES``.
        seed: The seed of the strategy `random`; the others draw nothing.
        doubt: How unsure the spreader is about each image (N,), for `spread-entropy`; None if there is no spreader.

    Returns:
        Scores (N,).

    Raises:
        ValueError: The strategy is unknown, there are fewer than two classes, or it reads a label that is no class.
        NumericalError: Logits are infinite or NaN. They would otherwise rank as the most certain.
    """
    assert_known(strategy, Strategy, "strategy")
    images = Readings(_finite(logits), labels, doubt)
    return STRATEGIES[strategy](images, torch.Generator().manual_seed(seed))


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


def _entropy(images: Readings, generator: Generator) -> Tensor:
    return entropy(images.logits)


def _margin(images: Readings, generator: Generator) -> Tensor:
    """Score a small lead of the likeliest class over the second high."""
    first, second = _distribution(images.logits).probs.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


def _least_confident(images: Readings, generator: Generator) -> Tensor:
    """Score a low probability of the likeliest class high."""
    return 1 - _distribution(images.logits).probs.amax(dim=1)


def _confident_mistakes(images: Readings, generator: Generator) -> Tensor:
    """Score mistakes highest, certain mistakes first; then correct predictions, uncertain ones first.

    The paper's published code offers this strategy beside entropy.
    """
    outputs.assert_classes(images.labels, images.logits.shape[1], "labels")
    uncertainty = entropy(images.logits)
    return torch.where(images.logits.argmax(dim=1) == images.labels, uncertainty, 3 - uncertainty)  # 0..1 and 2..3


def _spread_entropy(images: Readings, generator: Generator) -> Tensor:
    """Score the sum of two ranks, of the network's entropy and of the spreader's; by entropy alone without a spreader.

    Ranks, because the two entropies have different scales. Equal values have equal ranks, the mean of theirs.
    """
    uncertainty = entropy(images.logits)
    if images.doubt is None:
        return uncertainty
    return torch.from_numpy(rankdata(uncertainty.numpy()) + rankdata(images.doubt))


def _random(images: Readings, generator: Generator) -> Tensor:
    """Score at random: the baseline of all strategies."""
    return torch.rand(len(images.logits), generator=generator, dtype=torch.float64)


STRATEGIES: dict[Strategy, Scorer] = {
    "entropy": _entropy,
    "margin": _margin,
    "least-confident": _least_confident,
    "confident-mistakes": _confident_mistakes,
    "spread-entropy": _spread_entropy,
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
