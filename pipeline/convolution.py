"""Convolutions whose second derivative is cheap, for gradients of input gradients.

PyTorch's double backward of a grouped convolution runs one small convolution for each group: on
a depthwise EfficientNet thousands of them, most of the time of a double backward pass. A
convolution is linear in its input and in its weight, so that both of its derivatives, and theirs,
are convolutions of the same kind, which have fast kernels. Inside ``cheap_second_derivatives``
every ``conv2d`` is computed so; values and gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.overrides import TorchFunctionMode


class cheap_second_derivatives(TorchFunctionMode):  # a context manager, and named as one
    """Context in which a network's forward pass may be differentiated twice with respect to its input.

    The first derivative must be taken with respect to the input alone and with ``create_graph=True``.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace two-dimensional convolutions, let everything else through."""
        if function is not conv2d:
            return function(*args, **(kwargs or {}))
        return _conv2d(function, *args, **(kwargs or {}))


def _conv2d(
    original: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or x.ndim != 4:
        return original(x, weight, bias, stride, padding, dilation, groups)
    y: Tensor = _Convolution.apply(x, weight, (stride, padding, dilation, groups))
    return y if bias is None else y + bias.view(1, -1, 1, 1)


class _Convolution(torch.autograd.Function):
    """y = weight * x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return conv2d(x, weight, None, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        to_x: Tensor = _InputGradient.apply(gradients[0], weight, x.shape, ctx.how)
        if torch.is_grad_enabled():  # the first derivative, which is with respect to the input alone
            return to_x, None, None
        return to_x, conv2d_weight(x, weight.shape, gradients[0], *ctx.how), None


class _InputGradient(torch.autograd.Function):
    """The derivative of a convolution with respect to its input: linear in ``g`` and in ``weight``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: torch.Size, how: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.how = how
        return conv2d_input(shape, weight, g, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        g, weight = ctx.saved_tensors
        to_g = conv2d(gradients[0], weight, None, *ctx.how)
        return to_g, conv2d_weight(gradients[0], weight.shape, g, *ctx.how), None, None
