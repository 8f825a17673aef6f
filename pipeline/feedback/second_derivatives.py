"""Second derivatives where PyTorch has none: the penalty differentiates a gradient.

PyTorch cannot differentiate two operations of current networks twice: hardsigmoid (MobileNetV3) and its fused attention
kernels (ViT, Swin). Inside ``twice_differentiable``, hardsigmoid is written as a clamp, and attention runs by its
mathematical formula. Values and first derivatives stay the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Context in which a network's forward pass can be differentiated twice."""
    with sdpa_kernel(SDPBackend.MATH), _HardsigmoidAsClamp():
        yield


class _HardsigmoidAsClamp(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return (hardsigmoid if function is F.hardsigmoid else function)(*args, **(kwargs or {}))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return z / 6 + 1/2 within 0..1, as ``F.hardsigmoid`` does."""
    y = F.hardtanh(input / 6 + 0.5, 0.0, 1.0)
    return input.copy_(y) if inplace else y
