"""The rules of DeepLIFT for functions of several elements: products, maxima, softmax, attention, and the norms.

A rule takes the mode of ``rescale``, the function, and the function's own arguments. It returns NotImplemented for
arguments of which the function is linear, or for which there is no rule: the gradient is used then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from pipeline.query.multipliers import (
    Bilinear,
    Choice,
    LogSumExp,
    Maximum,
    Product,
    depends,
    references,
    with_reference,
)
from pipeline.query.norms import (
    batch_norm,
    cosine,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
    variance,
    vector_norm,
)

Function = Callable[..., Any]


def product(mode: TorchFunctionMode, function: Function, a: Any, b: Any, **options: Any) -> Any:
    """Give each factor of two activations the mean of the other factor's values; a factor of truth is a choice."""
    if options or not (depends(a) and depends(b)):
        return NotImplemented  # linear
    if torch.bool in (a.dtype, b.dtype):
        with mode:
            return torch.where(a, b, 0.0) if a.dtype == torch.bool else torch.where(b, a, 0.0)
    if not (a.is_floating_point() and b.is_floating_point()):
        return NotImplemented
    return with_reference(Product.apply(a, b, a.reference, b.reference, 0.5), a.reference * b.reference)


def quotient(mode: TorchFunctionMode, function: Function, a: Any, b: Any, **options: Any) -> Any:
    """Write a quotient as a product with 1/b."""
    if options or not depends(b):
        return NotImplemented
    with mode:
        return torch.reciprocal(b) * a


def product_and_sum(mode: TorchFunctionMode, function: Function, z: Any, a: Any, b: Any, *, value: Any = 1) -> Any:
    """Write ``addcmul`` as its sum and product."""
    if not (depends(a) and depends(b)):
        return NotImplemented  # linear
    with mode:
        return z + a * b * value


def quotient_and_sum(mode: TorchFunctionMode, function: Function, z: Any, a: Any, b: Any, *, value: Any = 1) -> Any:
    """Write ``addcdiv`` as its sum and quotient."""
    with mode:
        return z + a / b * value


def interpolated(mode: TorchFunctionMode, function: Function, a: Any, b: Any, weight: Any) -> Any:
    """Write ``lerp`` as its sum and product."""
    with mode:
        return a + (b - a) * weight


def bilinear(mode: TorchFunctionMode, function: Function, *args: Any, **options: Any) -> Any:
    """Give each of two activations (matmul, einsum, …) the function's gradient at the other's mean value."""
    leaves, tree = tree_flatten((args, options))
    places = [place for place, leaf in enumerate(leaves) if depends(leaf)]
    if len(places) != 2:
        return NotImplemented  # linear, or with an activation as the bias
    a, b = (leaves[place] for place in places)

    def f(one: Tensor, other: Tensor) -> Tensor:
        given = list(leaves)
        given[places[0]], given[places[1]] = one, other
        positional, named = tree_unflatten(given, tree)
        y: Tensor = function(*positional, **named)
        return y

    with torch.no_grad():
        y0 = f(a.reference, b.reference)
    return with_reference(Bilinear.apply(a, b, a.reference, b.reference, f), y0)


def mean(mode: TorchFunctionMode, function: Function, z: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Write a mean as a sum, whose gradient needs no memory."""
    if dim is None:
        return NotImplemented
    with mode:
        total = z.sum(dim, keepdim=keepdim)
        return total * (total.numel() / z.numel())


def max_pool(mode: TorchFunctionMode, function: Function, z: Tensor, *sizes: Any, **options: Any) -> Any:
    """Give a window's difference to the position of its maximum."""
    name = function.__name__.strip("_")
    if options.pop("return_indices", False) or z.ndim != int(name[-2]) + 2:
        return NotImplemented
    pool = getattr(functional, name)

    def find(values: Tensor) -> Any:
        return pool(values, *sizes, **options, return_indices=True)

    y0, from_x0 = find(z.reference)  # type: ignore[attr-defined]
    return with_reference(Maximum.apply(z, z.reference, y0, from_x0, find, 2), y0)  # type: ignore[attr-defined]


def maximum_over(mode: TorchFunctionMode, function: Function, z: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Give the difference of ``amax``, and of ``max`` over some dimensions, to the position of the maximum."""
    if isinstance(dim, Tensor):  # the larger one of two tensors
        return larger(mode, function, z, dim)
    dim = None if dim == () else dim
    dims = sorted(d % z.ndim for d in (range(z.ndim) if dim is None else [dim] if isinstance(dim, int) else dim))
    others = [d for d in range(z.ndim) if d not in dims]
    with mode:
        rows = z.permute(*others, *dims).flatten(len(others))

    def find(values: Tensor) -> Any:
        return values.max(-1, keepdim=True)

    y0, from_x0 = find(rows.reference)
    y = with_reference(Maximum.apply(rows, rows.reference, y0, from_x0, find, rows.ndim - 1), y0)
    with mode:
        y = y.squeeze(-1)
        for d in dims if keepdim else []:
            y = y.unsqueeze(d)
    if function.__name__ == "max" and dim is not None:
        return torch.return_types.max((y, z.detach().max(dim, keepdim).indices))
    return y


def choice(mode: TorchFunctionMode, function: Function, condition: Any, a: Any = None, b: Any = None) -> Any:
    """Give each operand of ``where`` the differences of the elements that it decides."""
    if a is None:
        return NotImplemented
    like = a if isinstance(a, Tensor) else b
    operands = [one if isinstance(one, Tensor) else like.new_tensor(one) for one in (a, b)]
    (a0, b0), holds0 = references(operands), references(condition)
    y = Choice.apply(*operands, a0, b0, (condition.detach(), holds0))
    return with_reference(y, torch.where(holds0, a0, b0))


def larger(mode: TorchFunctionMode, function: Function, a: Any, b: Any) -> Any:
    """Write the larger of two values as a choice."""
    with mode:
        return torch.where(a >= b, a, b)


def smaller(mode: TorchFunctionMode, function: Function, a: Any, b: Any) -> Any:
    """Write the smaller of two values as a choice."""
    with mode:
        return torch.where(a <= b, a, b)


def minimum_over(mode: TorchFunctionMode, function: Function, z: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Write ``amin``, and ``min`` over some dimensions, as the negative of a maximum."""
    if isinstance(dim, Tensor):  # the smaller one of two tensors
        return smaller(mode, function, z, dim)
    with mode:
        if function.__name__ == "min" and dim is not None:
            found = torch.max(-z, dim, keepdim)
            return torch.return_types.min((-found.values, found.indices))
        return -torch.amax(-z, () if dim is None else dim, keepdim)


def filled(mode: TorchFunctionMode, function: Function, z: Any, mask: Any, value: Any) -> Any:
    """Write ``masked_fill`` with a mask that depends on the image as a choice."""
    if not depends(mask):
        return NotImplemented
    with mode:
        return torch.where(mask, value, z)


def gated(mode: TorchFunctionMode, function: Function, z: Tensor, dim: int = -1) -> Any:
    """Write GLU as a product."""
    with mode:
        value, gate = z.chunk(2, dim)
        return value * gate.sigmoid()


def log_sum_exp(mode: TorchFunctionMode, function: Function, z: Tensor, dim: Any, keepdim: bool = False) -> Any:
    """Give log sum exp the multipliers of a mean softmax."""
    if not isinstance(dim, int):
        return NotImplemented
    y0 = z.reference.logsumexp(dim, keepdim=True)  # type: ignore[attr-defined]
    y = with_reference(LogSumExp.apply(z, z.reference, y0, dim), y0)  # type: ignore[attr-defined]
    with mode:
        return y if keepdim else y.squeeze(dim)


def log_softmax(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    dim: int,
    *rest: Any,
    _stacklevel: int = 3,
    dtype: Any = None,
) -> Any:
    """Write the log-softmax as z - log sum exp z."""
    dtype = next((one for one in rest if isinstance(one, torch.dtype)), dtype)
    with mode:
        z = z if dtype is None else z.to(dtype)
        return z - torch.logsumexp(z, dim, keepdim=True)


def softmax(mode: TorchFunctionMode, function: Function, z: Tensor, dim: int, *rest: Any, **options: Any) -> Any:
    """Write the softmax as exp(z - log sum exp z), whose argument is never positive."""
    y = log_softmax(mode, function, z, dim, *rest, **options)
    with mode:
        return y.exp()


def attention(
    mode: TorchFunctionMode,
    function: Function,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Write scaled dot-product attention by its formula."""
    if dropout_p:
        return NotImplemented
    with mode:
        if enable_gqa:
            key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
        scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return scores.softmax(-1) @ value


BILINEAR = (
    "matmul rmatmul bmm mm mv dot inner einsum tensordot linear bilinear baddbmm addmm addbmm conv1d conv2d conv3d"
)
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("mul", "multiply"), product),
    **dict.fromkeys(("div", "divide", "true_divide"), quotient),
    "addcmul": product_and_sum,
    "addcdiv": quotient_and_sum,
    "lerp": interpolated,
    **dict.fromkeys(BILINEAR.split(), bilinear),
    "mean": mean,
    **dict.fromkeys((f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)), max_pool),
    **dict.fromkeys(("amax", "max"), maximum_over),
    "where": choice,
    "maximum": larger,
    "minimum": smaller,
    **dict.fromkeys(("amin", "min"), minimum_over),
    "masked_fill": filled,
    "glu": gated,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    **dict.fromkeys(("norm", "linalg_vector_norm"), vector_norm),
    "cosine_similarity": cosine,
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), variance),
    "logsumexp": log_sum_exp,
    "log_softmax": log_softmax,
    "softmax": softmax,
    "scaled_dot_product_attention": attention,
}
