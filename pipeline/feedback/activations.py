"""Activations with cheap second derivatives, for ``double_backward``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten
CACHED = 2**16  # elements of a tensor that fit a core's cache


def silu(z: Tensor) -> Tensor:
    """Return z sigmoid(z)."""
    y: Tensor = _SiLU.apply(z)
    return y


def clamp(z: Tensor, low: float, high: float) -> Tensor:
    """Return z between two bounds, and the nearer bound elsewhere."""
    y: Tensor = _Clamp.apply(z, low, high)
    return y


class _SiLU(torch.autograd.Function):
    """y = z sigmoid(z)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return F.silu(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        to_z: Tensor = _SiLUGradient.apply(gradients[0], z)
        return to_z


class _SiLUGradient(torch.autograd.Function):
    """g s'(z)."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(g, z)
        return aten.silu_backward(g, z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        g, z = ctx.saved_tensors
        layout = torch.channels_last if _is_channels_last(z) else torch.contiguous_format
        to_g, to_z = (torch.empty_like(z, memory_format=layout) for _ in range(2))  # so that parts of them are views
        for u_, g_, z_, to_g_, to_z_ in _in_cache(gradients[0], g, z, to_g, to_z):
            torch.sigmoid(z_, out=to_g_)
            # s''(z) = s (1 - s) (2 + z (1 - 2 s)) for s = sigmoid(z)
            slope = (1 - 2 * to_g_).mul_(z_).add_(2).mul_(u_).mul_(g_)
            torch.mul(slope, to_g_, out=to_z_).addcmul_(to_z_, to_g_, value=-1)
            to_g_.copy_(aten.silu_backward(u_, z_))
        return to_g, to_z


class _Clamp(torch.autograd.Function):
    """y = z between two bounds, and the nearer bound elsewhere."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.bounds = low, high
        return F.hardtanh(z, low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        return _ClampGradient.apply(gradients[0], z.detach(), ctx.bounds), None, None


class _ClampGradient(torch.autograd.Function):
    """g where z is between the bounds: linear in g, with slope 0 in z."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, z: Tensor, bounds: tuple[float, float]) -> Tensor:
        ctx.save_for_backward(z)
        ctx.bounds = bounds
        return aten.hardtanh_backward(g, z, *bounds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        return aten.hardtanh_backward(gradients[0], z, *ctx.bounds), None, None


def _in_cache(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same block of elements of all tensors, small enough for a core's cache."""
    like = tensors[-1]
    if _is_channels_last(like):
        flat = [tensor.permute(0, 2, 3, 1).reshape(-1) for tensor in tensors]
    else:
        flat = [tensor.reshape(-1) for tensor in tensors]
    yield from zip(*(tensor.split(CACHED) for tensor in flat), strict=True)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
