"""Query strategies: which training images the experts are asked about.

A strategy is a function of (N, C) logits, (N,) labels and a random generator to (N,) scores; what
scores highest is asked first. Settles 2009, *Active Learning Literature Survey*, section 3.1, has
entropy, margin and least confident.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.distributions import Categorical


def scores(strategy: str, logits: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """Scores (N,) of images with (N, C) logits and (N,) class numbers; higher is asked first.

    ``strategy`` is a key of ``STRATEGIES``. ``seed`` matters to `random` alone: another seed, another
    order. Raises ValueError on NaN or infinite logits, which would otherwise sort as the most certain.
    """
    return STRATEGIES[strategy](_finite(logits), labels, torch.Generator().manual_seed(seed))


def top(scores: Tensor, count: int) -> list[int]:
    """Positions of the ``count`` highest scores, highest first; equal scores in their given order.

    Raises ValueError when there are fewer than ``count``.
    """
    if count > len(scores):
        raise ValueError(f"{count} queries asked for, but only {len(scores)} images can be asked about")
    order = torch.sort(scores, descending=True, stable=True).indices
    return [int(position) for position in order[:count]]


def entropy(logits: Tensor) -> Tensor:
    """Predictive entropy of (N, C) logits, divided by log(C): (N,) in 0 (certain) .. 1 (undecided).

    Shannon 1948. Raises ValueError on NaN or infinite logits.
    """
    return (_distribution(_finite(logits)).entropy() / math.log(logits.shape[1])).clamp(0, 1)


def _entropy(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    return entropy(logits)


def _margin(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """The smaller the lead of the likeliest class over the second, the higher."""
    first, second = _distribution(logits).probs.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


def _least_confident(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """The less likely the likeliest class, the higher."""
    return 1 - _distribution(logits).probs.amax(dim=1)


def _confident_mistakes(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Mistakes first, from the most certain on; then the others, from the least certain on.

    The other mode of the published reference code: low entropy, and wrong.
    """
    uncertainty = entropy(logits)
    return torch.where(logits.argmax(dim=1) == labels, uncertainty, 3 - uncertainty)  # 0..1 and 2..3


def _random(logits: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Any order: what a strategy must beat to be worth its name."""
    return torch.rand(len(logits), generator=generator, dtype=torch.float64)


STRATEGIES: dict[str, Callable[[Tensor, Tensor, Generator], Tensor]] = {
    "entropy": _entropy,
    "margin": _margin,
    "least-confident": _least_confident,
    "confident-mistakes": _confident_mistakes,
    "random": _random,
}


def _finite(logits: Tensor) -> Tensor:
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits are not finite, so its uncertainty means nothing: training diverged")
    return logits


def _distribution(logits: Tensor) -> Categorical:
    return Categorical(logits=logits.double())
