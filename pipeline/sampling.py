"""Query strategies: which training images the experts are asked about."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Predictive entropy of (N, C) logits, divided by log(C): (N,) in 0 (certain) .. 1 (undecided).

    Shannon 1948; as a query strategy Settles 2009, section 3.1. Raises ValueError on NaN or
    infinite logits, which would otherwise sort as the most certain.
    """
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits are not finite, so its uncertainty means nothing: training diverged")
    distribution = torch.distributions.Categorical(logits=logits.double())
    return (distribution.entropy() / math.log(logits.shape[1])).clamp(0, 1)


def top(scores: Tensor, count: int) -> list[int]:
    """Positions of the ``count`` highest scores, highest first; equal scores in their given order.

    Raises ValueError when there are fewer than ``count``.
    """
    if count > len(scores):
        raise ValueError(f"{count} queries asked for, but only {len(scores)} images can be asked about")
    order = torch.sort(scores, descending=True, stable=True).indices
    return [int(position) for position in order[:count]]
