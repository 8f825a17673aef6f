"""Multipliers of DeepLIFT as PyTorch functions: their backward passes conserve differences from the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import NetworkError

NEAR = 1e-6  # closer inputs use the derivative, which is the rule's limit


def with_reference(tensor: Tensor, reference: Tensor) -> Tensor:
    """Attach its counterpart for the reference to a tensor, and return the tensor.

    Raises NetworkError if their shapes differ, as after an index of which the image decides the length.
    """
    if tensor.shape != reference.shape:
        raise NetworkError(
            f"an image's activations have the shape {tuple(tensor.shape)}, but its reference's have "
            f"{tuple(reference.shape)}: the network selects by value. Fix: choose another explainer"
        )
    tensor.reference = reference  # type: ignore[attr-defined]
    return tensor


def depends(operand: Any) -> bool:
    """Return True if an operand depends on the explained input."""
    return isinstance(operand, Tensor) and hasattr(operand, "reference")


def references(operands: Any) -> Any:
    """Return operands with the reference's values in place of the image's."""
    if isinstance(operands, tuple | list):
        return type(operands)(map(references, operands))
    if isinstance(operands, dict):
        return {name: references(operand) for name, operand in operands.items()}
    return operands.reference if depends(operands) else operands


def tensors(operands: Any) -> Iterator[Tensor]:
    """Yield the tensors among operands."""
    if isinstance(operands, Tensor):
        yield operands
    elif isinstance(operands, tuple | list):
        for operand in operands:
            yield from tensors(operand)
    elif isinstance(operands, dict):
        yield from tensors(list(operands.values()))


class Rescale(torch.autograd.Function):
    """y = f(z); backwards, the gradient is multiplied by (y - y0)/(z - z0).

    y and y0 overwrite z and z0 if the function is called ``in_place``. For a function of ``single`` elements, the slope
    is computed only where z is near z0.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, z0: Tensor, y0: Tensor, f: Callable[[Tensor], Tensor], single: bool, in_place: bool
    ) -> Tensor:
        """Return f(z), given z0 and y0 = f(z0)."""
        y = f(z.detach())
        moved = z - z0
        multiplier = (y - y0).div_(moved)
        if moved.numel() and not moved.abs_().min() >= NEAR:
            near = (moved >= NEAR).logical_not_().nonzero(as_tuple=True)  # also two equal infinities
            leaf = (z.detach()[near] if single else z.detach()).requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(f(leaf.clone()).sum(), leaf)  # a copy: f may overwrite it
            # The square root's slope at 0 is infinite; infinity times a difference of 0 would be NaN.
            multiplier[near] = (slope if single else slope[near]).nan_to_num_(0.0, 0.0, 0.0)
        ctx.save_for_backward(multiplier)
        if in_place:
            ctx.mark_dirty(z)
            z0.copy_(y0)
            return z.copy_(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the multiplier of z."""
        (multiplier,) = ctx.saved_tensors
        return multiplier.mul_(gradients[0]), None, None, None, None, None  # overwritten: it is needed once


def _of_operands(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the multipliers of two operands, whose own multipliers are saved with their shapes."""
    to_a, to_b = ctx.saved_tensors
    shape_a, shape_b = ctx.shapes
    return (g * to_a).sum_to_size(shape_a), (g * to_b).sum_to_size(shape_b)


class Product(torch.autograd.Function):
    """a b; backwards, a factor's multiplier is a mean of the other factor's value and reference.

    a b - a0 b0 = (a - a0)(w b + (1 - w) b0) + (b - b0)(w a0 + (1 - w) a), for any ``w``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, a0: Tensor, b0: Tensor, w: Any) -> Tensor:
        """Return a b."""
        ctx.save_for_backward(torch.lerp(b0, b, w), torch.lerp(a, a0, w))
        ctx.shapes = a.shape, b.shape
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the multipliers of a and b."""
        return (*_of_operands(ctx, gradients[0]), None, None, None)


class Bilinear(torch.autograd.Function):
    """f(a, b), linear in each operand; backwards, an operand's multiplier is f's gradient at the other's mean value."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, a0: Tensor, b0: Tensor, f: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return f(a, b)."""
        ctx.save_for_backward((a + a0) / 2, (b + b0) / 2)
        ctx.f = f
        return f(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the multipliers of a and b."""
        leaves = [mean.requires_grad_() for mean in (one.detach() for one in ctx.saved_tensors)]
        with torch.enable_grad():
            to_a, to_b = torch.autograd.grad(ctx.f(*leaves), leaves, gradients[0])
        return to_a, to_b, None, None, None


class Maximum(torch.autograd.Function):
    """The maxima of sets of values; backwards, a set's multiplier goes to the position of the maximum.

    ``find`` returns the maxima and their positions among the values of z after its dimension ``kept``.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, z0: Tensor, y0: Tensor, from_x0: Tensor, find: Any, kept: int) -> Tensor:
        """Return the maxima of z, given the maxima of z0 and their positions."""
        y, from_x = find(z)
        decided = torch.where(y >= y0, from_x, from_x0).flatten(kept)
        moved = (z - z0).flatten(kept).gather(kept, decided).view_as(y)
        near = moved.abs() < NEAR
        ctx.save_for_backward(torch.where(near, 1.0, (y - y0) / torch.where(near, 1.0, moved)), decided)
        ctx.shape, ctx.kept = z.shape, kept
        found: Tensor = y
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Return the multiplier of z."""
        multiplier, decided = ctx.saved_tensors
        given = (gradients[0] * multiplier).flatten(ctx.kept)
        zero = multiplier.new_zeros(ctx.shape).flatten(ctx.kept)
        to_z = zero.scatter_add(ctx.kept, decided, given).view(ctx.shape)  # sets may overlap
        return to_z, None, None, None, None, None


class Choice(torch.autograd.Function):
    """a where a condition holds, else b; the condition may differ for the reference.

    Where it differs, both operands share the difference of the result in proportion to their squared differences.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, a0: Tensor, b0: Tensor, conditions: tuple[Tensor, Tensor]) -> Tensor:
        """Return a where the first condition holds, else b; the second condition is the reference's."""
        holds, holds0 = conditions
        y = torch.where(holds, a, b)
        moved, to_a, to_b = y - torch.where(holds0, a0, b0), a - a0, b - b0
        share = moved / (to_a.square() + to_b.square()).clamp(min=torch.finfo(y.dtype).tiny)
        same = holds == holds0
        ctx.save_for_backward(torch.where(same, holds.to(y), share * to_a), torch.where(same, ~holds, share * to_b))
        ctx.shapes = a.shape, b.shape
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the multipliers of a and b."""
        return (*_of_operands(ctx, gradients[0]), None, None, None)


class LogSumExp(torch.autograd.Function):
    """log sum exp z over a dimension; backwards, the multipliers are a mean of both softmaxes.

    The function is convex: its slope along z - z0 grows from the reference's softmax to the image's. A mean of both
    slopes is therefore exactly the difference, and the multipliers are probabilities, however large z is.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, z0: Tensor, y0: Tensor, dim: int) -> Tensor:
        """Return log sum exp of z, given z0 and its result."""
        y = z.logsumexp(dim, keepdim=True)
        moved = torch.where(z == z0, 0.0, z - z0)  # two equal infinities have not moved
        p, p0 = z.softmax(dim), z0.softmax(dim)
        slope0 = (p0 * moved).sum(dim, keepdim=True)
        between = (p * moved).sum(dim, keepdim=True) - slope0
        w = torch.where(between > NEAR, (y - y0 - slope0) / between.clamp(min=NEAR), 0.5)
        ctx.save_for_backward(p0 + w * (p - p0))
        found: Tensor = y
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the multiplier of z."""
        (multiplier,) = ctx.saved_tensors
        return gradients[0] * multiplier, None, None, None
