"""The rules of DeepLIFT for norms: each is split into a mean, a square, an inverse root and a product."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pipeline.query.multipliers import Product, references, with_reference

Function = Callable[..., Any]


def batch_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """Replace BatchNorm, which is linear: PyTorch's gradient of it is slow in eval mode on a CPU."""
    if training or running_mean is None or running_var is None:
        return NotImplemented
    scale = torch.rsqrt(running_var + eps) * (1 if weight is None else weight)
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    shape = (1, -1, *[1] * (z.ndim - 2))
    with mode:
        return torch.addcmul(shift.view(shape), z, scale.view(shape))


def layer_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    normalized_shape: Iterable[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:
    """Split a layer norm into a mean, a square, an inverse root and a product."""
    dims = tuple(range(-len(tuple(normalized_shape)), 0))
    with mode:
        centred = z - z.mean(dims, keepdim=True)
    return _affine(mode, _over_root(mode, centred, dims, eps), weight, bias)


def rms_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    normalized_shape: Iterable[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Any:
    """Split an RMS norm like a layer norm."""
    dims = tuple(range(-len(tuple(normalized_shape)), 0))
    return _affine(mode, _over_root(mode, z, dims, torch.finfo(z.dtype).eps if eps is None else eps), weight, None)


def group_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """Split a group norm like a layer norm."""
    shape = (-1, *[1] * (z.ndim - 2))
    with mode:
        rows = z.reshape(len(z), num_groups, -1)
        centred = rows - rows.mean(2, keepdim=True)
    y = _over_root(mode, centred, (2,), eps)
    with mode:
        y = y.view(z.shape)
    return _affine(mode, y, *(one if one is None else one.view(shape) for one in (weight, bias)))


def instance_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """Write an instance norm as a group norm, or as a batch norm where it has running statistics."""
    if not use_input_stats:
        return batch_norm(mode, function, z, running_mean, running_var, weight, bias, False, momentum, eps)
    return group_norm(mode, function, z, z.shape[1], weight, bias, eps)


def _over_root(mode: TorchFunctionMode, z: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Return values over the root of their mean square."""
    with mode:
        scale = (z.square().mean(dims, keepdim=True) + eps).rsqrt()
    z0, scale0 = references((z, scale))
    weight = (scale.detach() < scale0).to(scale)
    return with_reference(Product.apply(z, scale, z0, scale0, weight), z0 * scale0)


def _affine(mode: TorchFunctionMode, y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    with mode:
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def vector_norm(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    p: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    ord: Any = None,
    dtype: Any = None,
) -> Any:
    """Write the length of vectors as the root of a sum of squares, or as a sum of absolute values."""
    if (p or ord) not in (1, 2, "fro", None) or dtype is not None:
        return NotImplemented
    with mode:
        if (p or ord) == 1:
            return z.abs().sum() if dim is None else z.abs().sum(dim, keepdim=keepdim)
        squares = z.square()
        return (squares.sum() if dim is None else squares.sum(dim, keepdim=keepdim)).sqrt()


def cosine(mode: TorchFunctionMode, function: Function, a: Any, b: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Write a cosine as the product of two vectors of length 1."""
    with mode:
        return (functional.normalize(a, 2.0, dim, eps) * functional.normalize(b, 2.0, dim, eps)).sum(dim)


def variance(
    mode: TorchFunctionMode,
    function: Function,
    z: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """Write a variance or deviation as a sum of squares; ``var_mean`` and ``std_mean`` return the mean too."""
    if isinstance(dim, bool):  # `z.var(False)`
        dim, unbiased = None, dim
    dims = tuple(range(z.ndim)) if dim is None else dim
    with mode:
        mean = z.mean(dims, keepdim=True)
        y = (z - mean).square().sum(dims, keepdim=keepdim)
        freedom = z.numel() // mean.numel() - (int(unbiased) if correction is None else correction)
        y = y / max(freedom, 0)
        y = y.sqrt() if function.__name__.startswith("std") else y
        return (y, mean if keepdim else mean.reshape(y.shape)) if function.__name__.endswith("_mean") else y
