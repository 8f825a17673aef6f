"""Query strategies: they rank the training images for the experts (paper, section 3.1).

The paper uses entropy. Entropy, margin and least confident are in Settles 2009, *Active Learning Literature Survey*,
section 3.1. `spread-entropy` also asks where the answers so far do not say what must not matter.

With findings, the network answers a question for each: is it there? Entropies are then summed over findings, the margin
is the smallest one, and the least confident prediction has the lowest probability of all its answers together.
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
from pipeline.models import outputs, tasks
from pipeline.models.tasks import Task


@dataclass(frozen=True)
class Readings:
    """The known numbers of N images.

    Attributes:
        logits: The logits (N, C) of the network in training; of findings (N, k).
        labels: The class numbers (N,), or 0 and 1 for each finding (N, k).
        doubt: How unsure the spreader is about each image's cells (N,); None before there is a spreader.
    """

    logits: Tensor
    labels: Tensor
    doubt: NDArray[np.float64] | None = None

    @property
    def task(self) -> Task:
        """The meaning of the logits."""
        return tasks.of(self.labels)

    def answers(self) -> Categorical:
        """Return the distribution of each answer, (N,) or (N, k)."""
        return _distribution(self.logits, self.task)


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
        logits: The images' logits (N, C); of findings (N, k).
        labels: Their class numbers (N,), or 0 and 1 for each finding (N, k).
        strategy: A key of ``STRATEGIES``.
        seed: The seed of the strategy `random`; the others draw nothing.
        doubt: How unsure the spreader is about each image (N,), for `spread-entropy`; None if there is no spreader.

    Returns:
        Scores (N,).

    Raises:
        ValueError: The strategy is unknown or does not suit findings, there are fewer than two classes, or it reads a
            label that is no class.
        NumericalError: Logits are infinite or NaN. They would otherwise rank as the most certain.
    """
    assert_known(strategy, Strategy, "strategy")
    images = Readings(_finite(logits, tasks.of(labels)), labels, doubt)
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


def entropy(logits: Tensor, task: Task = tasks.CLASSES) -> Tensor:
    """Return the predictive entropy of logits (N, C) over log(C): (N,), from 0 (certain) to 1 (undecided).

    Of findings (N, k), it is the sum of their entropies over k log(2). Shannon 1948, *A Mathematical Theory of
    Communication*. Raises NumericalError on infinite or NaN logits.
    """
    found = _distribution(_finite(logits, task), task)
    return (found.entropy() / math.log(found.logits.shape[-1])).reshape(len(logits), -1).mean(dim=1).clamp(0, 1)


def _entropy(images: Readings, generator: Generator) -> Tensor:
    return entropy(images.logits, images.task)


def _margin(images: Readings, generator: Generator) -> Tensor:
    """Score a small lead of the likeliest class over the second high."""
    first, second = images.answers().probs.topk(2, dim=-1).values.unbind(dim=-1)
    return 1 - (first - second).reshape(len(images.logits), -1).amin(dim=1)


def _least_confident(images: Readings, generator: Generator) -> Tensor:
    """Score a low probability of the likeliest class high."""
    return 1 - images.answers().probs.amax(dim=-1).reshape(len(images.logits), -1).prod(dim=1)


def _confident_mistakes(images: Readings, generator: Generator) -> Tensor:
    """Score mistakes highest, certain mistakes first; then correct predictions, uncertain ones first.

    The paper's published code offers this strategy beside entropy.
    """
    if images.task.findings:
        raise ValueError(
            "'confident-mistakes' is about another finding than the least certain one, which is explained. "
            "Fix: use another strategy"
        )
    outputs.assert_classes(images.labels, images.logits.shape[1], "labels")
    uncertainty = entropy(images.logits)
    return torch.where(images.logits.argmax(dim=1) == images.labels, uncertainty, 3 - uncertainty)  # 0..1 and 2..3


def _spread_entropy(images: Readings, generator: Generator) -> Tensor:
    """Score the sum of two ranks, of the network's entropy and of the spreader's; by entropy alone without a spreader.

    Ranks, because the two entropies have different scales. Equal values have equal ranks, the mean of theirs.
    """
    uncertainty = entropy(images.logits, images.task)
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


def _finite(logits: Tensor, task: Task) -> Tensor:
    if logits.ndim != 2 or logits.shape[1] < (1 if task.findings else 2):
        raise ValueError(
            f"a strategy needs logits (N, C) of two classes or more, but they are {tuple(logits.shape)}. "
            "Fix: give each class a logit, or pass labels of findings (N, 1) for a single logit"
        )
    if not torch.isfinite(logits).all():
        raise NumericalError("the logits are not finite: training diverged. Fix: lower `train.learning_rate`")
    return logits


def _distribution(logits: Tensor, task: Task) -> Categorical:
    return Categorical(logits=task.answers(logits.double()))
