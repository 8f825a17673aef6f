"""Cheap second derivatives: the gradient of an input gradient, as the penalty (Eq. 2) needs it.

PyTorch differentiates a gradient by generic formulas: a grouped convolution becomes one small convolution per group,
and BatchNorm and SiLU become a dozen passes over memory. Double backward spends most of its time there. Inside
``cheap_second_derivatives``, a forward pass is recorded with these rules instead:

- A convolution is linear in its input and in its weight. Its first and second derivatives are therefore convolutions
  of the same kind, with fast kernels. A convolution over single pixels is a matrix product.
- BatchNorm in eval mode is linear. It is folded into the weights of the convolution before it (Jacob et al. 2018,
  https://arxiv.org/abs/1712.05877, section 3.2), so that no derivative passes over its activations.
- The second derivative of SiLU is written out, and computed in blocks that fit a core's cache.
- ReLU and ReLU6 have no second derivative. In a network of such functions whose output is linear in the logits, no
  gradient returns through the forward pass; PyTorch sends zeros there.

Values and gradients equal PyTorch's up to rounding. PyTorch handles each operation without a rule. A plain training
step passes through each convolution three times: forward, gradient of its input, gradient of its weight. The exact
gradient of the penalty takes six passes here, or four without second derivatives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from pipeline.feedback.activations import clamp, silu

aten = torch.ops.aten


class cheap_second_derivatives(TorchFunctionMode):  # a context manager, so in lower case
    """Context in which a network's forward pass is recorded for two derivatives with respect to its input.

    Take the first derivative with respect to the input alone, and with ``create_graph=True``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replaced = False  # whether an operand of this forward pass has a ``replaced_by``
        self._rules: dict[Any, Callable[..., Tensor | None]] = {
            F.conv2d: _conv2d,
            F.batch_norm: _batch_norm,
            F.silu: _silu,
            F.relu: _relu,
            F.hardtanh: _hardtanh,
            F.relu6: _relu6,
            F.hardsigmoid: _hardsigmoid,
            Tensor.mean: _mean,
        }

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace a function that has a rule for these arguments; call any other function as it is."""
        if self._replaced:
            args, kwargs = tree_map(current, (args, kwargs))
        rule = self._rules.get(function)
        given = _bound(rule, args, kwargs or {}) if rule else None
        y = rule(*given.args, **given.kwargs) if rule and given else None
        if y is None:
            found = function(*args, **(kwargs or {}))
            _note_views(found)
            return found
        if given and given.arguments.get("inplace"):  # later readers of the operand see the result, without a copy
            given.args[0].replaced_by, self._replaced = y, True
        return y


def current(operand: Any) -> Any:
    """Return an operand, or the result of the in-place function that was called on it.

    A network may return the operand itself.
    """
    while isinstance(operand, Tensor) and hasattr(operand, "replaced_by"):
        operand = operand.replaced_by
    return operand


def _bound(rule: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments | None:
    """Return a rule's arguments; None where PyTorch's own function must take them."""
    try:
        given = _signature(rule).bind(*args, **kwargs)
    except TypeError:  # PyTorch has more names for some of them, as `axis` for `dim`
        return None
    # A part of another tensor, or a tensor with such parts: these would have to change too.
    shared = given.arguments.get("inplace") and (given.args[0]._base is not None or hasattr(given.args[0], "viewed"))
    return None if shared else given


def _note_views(found: Any) -> None:
    """Mark the tensors that results are parts of."""
    for y in found if isinstance(found, tuple | list) else [found]:
        if isinstance(y, Tensor) and y._base is not None:
            y._base.viewed = True  # type: ignore[attr-defined]


@cache
def _signature(rule: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(rule)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if isinstance(padding, str) or input.ndim != 4 or torch.is_autocast_enabled(input.device.type):
        return None
    how = (_pair(stride), _pair(padding), _pair(dilation), groups)
    y: Tensor = _Convolution.apply(input, weight, bias, how, None)
    made_by = (input, weight, bias, how, (y._version, input._version))
    y.made_by = made_by  # type: ignore[attr-defined]  # for a BatchNorm after it
    return y


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    made_by = getattr(input, "made_by", None)
    if training or running_mean is None or running_var is None or made_by is None:
        return None
    source, kernel, offset, how, versions = made_by
    if versions != (input._version, source._version):  # one of them was overwritten since
        return None
    scale = torch.rsqrt(running_var + eps) * (1 if weight is None else weight)
    shift = -running_mean * scale if offset is None else (offset - running_mean) * scale
    folded = kernel * scale.view(-1, 1, 1, 1)
    if bias is not None:
        shift = shift + bias
    # Scaling the convolution's result is cheaper than a second convolution with the folded weights.
    unscaled = input.detach() if offset is None else input.detach() - offset.view(1, -1, 1, 1)
    y: Tensor = _Convolution.apply(source, folded, shift, how, (unscaled, scale))
    return y


def _silu(input: Tensor, inplace: bool = False) -> Tensor:
    return silu(input)


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(input, 0.0, float("inf"))


def _relu6(input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(input, 0.0, 6.0)


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    return clamp(input, min_val, max_val)


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(input / 6 + 0.5, 0.0, 1.0)


def _mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor | None:
    if dim is None or dtype is not None:
        return None
    total = input.sum(dim, keepdim=keepdim)  # unlike the mean's, its derivative needs no memory
    return total * (total.numel() / input.numel())


class _Convolution(torch.autograd.Function):
    """y = weight * x + bias; ``known`` is a tensor and a factor per channel with the product weight * x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: Any, known: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how, ctx.bias = how, bias is not None
        if known is None or bias is None:
            return _forward(x, weight, bias, how)
        product, factor = known
        return torch.addcmul(bias.view(1, -1, 1, 1), product, factor.view(1, -1, 1, 1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # the first derivative, with respect to the input alone
            return _InputGradient.apply(gradients[0], weight, x.detach(), ctx.how), None, None, None, None
        needed = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.bias and ctx.needs_input_grad[2]]
        return *_gradients(gradients[0], x, weight, ctx.how, needed), None, None


class _InputGradient(torch.autograd.Function):
    """The derivative of a convolution with respect to its input: linear in ``g`` and in ``weight``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, x: Tensor, how: Any) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.how = how
        found = _gradients(g, x, weight, how, [True, False, False])[0]
        assert found is not None
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        to_g = _forward(gradients[0], weight, None, ctx.how)
        to_weight = _gradients(g, gradients[0], weight, ctx.how, [False, ctx.needs_input_grad[1], False])[1]
        return to_g, to_weight, None, None


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, how: Any) -> Tensor:
    if not _pointwise(x, weight, how):
        return F.conv2d(x, weight, bias, *how)
    shape = (len(x), len(weight), *x.shape[2:])
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    rows, matrix = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), weight.flatten(1).t()
    out = y.permute(0, 2, 3, 1).view(-1, len(weight))
    torch.mm(rows, matrix, out=out) if bias is None else torch.addmm(bias, rows, matrix, out=out)
    return y


def _gradients(
    g: Tensor, x: Tensor, weight: Tensor, how: Any, needed: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the needed gradients with respect to x, weight and bias."""
    # PyTorch's convolution takes ten times as long if only one of g and x is in the channels-last layout.
    if x.is_contiguous(memory_format=torch.channels_last):
        g = g.contiguous(memory_format=torch.channels_last)
    if not _pointwise(x, weight, how):
        stride, padding, dilation, groups = how
        found: tuple[Tensor | None, Tensor | None, Tensor | None] = aten.convolution_backward(
            g, x, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, needed
        )
        return found
    rows, matrix = g.permute(0, 2, 3, 1), weight.flatten(1)
    to_x = (rows @ matrix).permute(0, 3, 1, 2) if needed[0] else None
    flat = rows.reshape(-1, len(weight))
    to_weight = (flat.t() @ x.permute(0, 2, 3, 1).reshape(-1, matrix.shape[1])).view_as(weight) if needed[1] else None
    return to_x, to_weight, flat.sum(dim=0) if needed[2] else None


def _pointwise(x: Tensor, weight: Tensor, how: Any) -> bool:
    """Return True for a matrix product over the channels of each pixel, adjacent in memory."""
    plain = weight.shape[2:] == (1, 1) and how == ([1, 1], [0, 0], [1, 1], 1)
    return plain and x.is_contiguous(memory_format=torch.channels_last)


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
