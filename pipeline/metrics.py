"""What a classifier is judged by: pure functions from logits to (name, value)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy


def classification(logits: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """``logits`` (N, C), ``labels`` (N,): ``loss`` is the mean CE in nats, ``accuracy`` 0..1."""
    yield "loss", float(cross_entropy(logits.double(), labels))
    yield "accuracy", float((logits.argmax(dim=1) == labels).double().mean())
