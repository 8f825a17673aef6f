"""DeepLIFT-Rescale as rules for functions: inside ``rescale_rules``, a backward pass carries multipliers.

Shrikumar, Greenside and Kundaje 2017, *Learning Important Features Through Propagating Activation Differences*,
https://arxiv.org/abs/1704.02685: linear rule (eq. 6) and rescale rule (eq. 12). The network runs over the image x.
Each function that it calls also runs over the values of the reference x0. For a function that is not linear, a
multiplier m with sum m (z - z0) = y - y0 replaces the gradient. The rules match functions, not modules. No module of
the network is exchanged, and ``F.silu(z)``, ``z.sigmoid()`` and ``z * gate`` in any ``forward`` follow the same rules.

The DeepLIFT paper leaves these rules open:

- A function of single elements follows the rescale rule.
- A product of two activations (squeeze-excite) gives each factor the mean of the other factor's two values:
  a b - a0 b0 = (a - a0)(b + b0)/2 + (b - b0)(a + a0)/2. A quotient is a product with 1/b.
- A window of a max pool gives its difference to one position, as in SHAP and captum: the image's maximum if it is
  larger than the reference's, else the reference's. No multiplier exceeds 1.
- A layer norm is split into a mean, a square, an inverse root and a product. The product takes the smaller of the two
  inverse roots and the other's centred values instead of means. A reference of one colour may have an inverse root of
  1000; its large multipliers would have to cancel layer by layer.
- Any other function that is not linear keeps its gradient. The attributions then do not sum to the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

NEAR = 1e-6  # closer inputs use the derivative, which is the rule's limit
ELEMENTWISE = (
    "relu relu6 hardtanh leaky_relu prelu elu celu selu silu mish gelu hardswish hardsigmoid sigmoid special_expit "
    "logsigmoid log_sigmoid softplus softsign tanh tanhshrink hardshrink softshrink threshold clamp clamp_min "
    "clamp_max clip abs absolute square sqrt rsqrt reciprocal rdiv pow rpow exp expm1 log log1p log2 log10 sin cos erf"
)


class rescale_rules(TorchFunctionMode):  # a context manager, so in lower case
    """Context in which a network's backward pass carries multipliers.

    Run the network on an input of ``with_reference``. Each tensor that depends on this input carries its value for
    the reference as ``tensor.reference``.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the function on the reference's values too, and apply its rule if it has one."""
        kwargs = dict(kwargs or {})
        operands = [operand for operand in tree_leaves((args, kwargs)) if depends(operand)]
        if not operands or function in (torch.autograd.grad, Tensor.requires_grad_):
            return function(*args, **kwargs)
        name = function.__name__
        rule = RULES.get(name.strip("_"))
        if rule is None:
            return self._linear(function, args, kwargs)
        in_place = kwargs.pop("inplace", False) or (name.endswith("_") and not name.endswith("__"))
        if in_place:  # the rule needs the values that it overwrites
            z, z0 = args[0], args[0].reference
            args = (with_reference(z.clone(), z0.clone()), *args[1:])
        y = rule(self, function, *args, **kwargs)
        if y is NotImplemented:
            y = self._linear(function, args, kwargs)
        if in_place:  # later readers of the tensor must see the new values
            y = with_reference(z.copy_(y), z0.copy_(y.reference))
        return y

    def _linear(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with torch.no_grad():
            y0 = function(*_references(args), **_references(kwargs))
        y = function(*args, **kwargs)
        return tree_map(lambda one, other: with_reference(one, other) if isinstance(one, Tensor) else one, y, y0)


def with_reference(tensor: Tensor, reference: Tensor) -> Tensor:
    """Attach its counterpart for the reference to a tensor, and return the tensor."""
    tensor.reference = reference  # type: ignore[attr-defined]
    return tensor


def depends(operand: Any) -> bool:
    """Return True if an operand depends on the explained input."""
    return isinstance(operand, Tensor) and hasattr(operand, "reference")


def _references(operands: Any) -> Any:
    return tree_map(lambda operand: operand.reference if depends(operand) else operand, operands)


def _elementwise(mode: rescale_rules, function: Callable[..., Tensor], z: Any, *rest: Any, **options: Any) -> Any:
    if not depends(z) or any(map(depends, (*rest, *options.values()))):
        return NotImplemented

    def f(values: Tensor) -> Tensor:
        return function(values.clone(), *rest, **options) if overwrites else function(values, *rest, **options)

    overwrites = function.__name__.endswith("_")
    y0 = f(z.reference).detach()
    return with_reference(_Rescale.apply(z, z.reference, y0, f), y0)


def _product(mode: rescale_rules, function: Callable[..., Tensor], a: Any, b: Any, **options: Any) -> Any:
    if options or not (depends(a) and depends(b)):
        return NotImplemented  # linear
    return with_reference(_Product.apply(a, b, a.reference, b.reference, 0.5), a.reference * b.reference)


def _quotient(mode: rescale_rules, function: Callable[..., Tensor], a: Any, b: Any, **options: Any) -> Any:
    if options or not depends(b):
        return NotImplemented
    with mode:
        return torch.reciprocal(b) * a


def _batch_norm(
    mode: rescale_rules,
    function: Callable[..., Tensor],
    z: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Replace BatchNorm, which is linear: PyTorch's gradient of it is slow in eval mode on a CPU."""
    if training or mean is None or variance is None:
        return NotImplemented
    scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (1, -1, *[1] * (z.ndim - 2))
    with mode:
        return z * scale.view(shape) + shift.view(shape)


def _max_pool(mode: rescale_rules, function: Callable[..., Tensor], z: Tensor, *sizes: Any, **options: Any) -> Tensor:
    options |= {"return_indices": True}
    y0, from_x0 = functional.max_pool2d(z.reference, *sizes, **options)  # type: ignore[attr-defined]
    y = _MaxPool.apply(z, z.reference, y0, from_x0, sizes, options)  # type: ignore[attr-defined]
    return with_reference(y, y0)


def _layer_norm(
    mode: rescale_rules,
    function: Callable[..., Tensor],
    z: Tensor,
    shape: Iterable[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    dims = tuple(range(-len(tuple(shape)), 0))
    with mode:
        centred = z - z.mean(dims, keepdim=True)
        scale = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    centred0, scale0 = _references((centred, scale))
    smaller = (scale.detach() < scale0).to(scale)
    y = with_reference(_Product.apply(centred, scale, centred0, scale0, smaller), centred0 * scale0)
    with mode:
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("mul", "multiply"), _product),
    **dict.fromkeys(("div", "divide", "true_divide"), _quotient),
    "max_pool2d": _max_pool,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
}


class _Rescale(torch.autograd.Function):
    """y = f(z); backwards, the gradient is multiplied by (y - y0)/(z - z0)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, z0: Tensor, y0: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        y = f(z.detach())
        moved = z - z0
        near = moved.abs() < NEAR
        multiplier = (y - y0).div_(moved)
        if near.any():
            with torch.enable_grad():
                leaf = z.detach().requires_grad_()
                (slope,) = torch.autograd.grad(f(leaf.clone()).sum(), leaf)  # a copy: f may overwrite it
            # The square root's slope at 0 is infinite; infinity times a difference of 0 would be NaN.
            multiplier = torch.where(near, slope.nan_to_num_(0.0, 0.0, 0.0), multiplier)
        ctx.save_for_backward(multiplier)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (multiplier,) = ctx.saved_tensors
        return gradients[0] * multiplier, None, None, None


class _Product(torch.autograd.Function):
    """a b; backwards, a factor's multiplier is a mean of the other factor's value and reference.

    a b - a0 b0 = (a - a0)(w b + (1 - w) b0) + (b - b0)(w a0 + (1 - w) a), for any ``w``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, a0: Tensor, b0: Tensor, w: Any) -> Tensor:
        ctx.save_for_backward(w * b + (1 - w) * b0, w * a0 + (1 - w) * a)
        ctx.shapes = a.shape, b.shape
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        to_a, to_b = ctx.saved_tensors
        g, (shape_a, shape_b) = gradients[0], ctx.shapes
        return (g * to_a).sum_to_size(shape_a), (g * to_b).sum_to_size(shape_b), None, None, None


class _MaxPool(torch.autograd.Function):
    """Maxima of windows; backwards, a window's multiplier goes to the position of the maximum."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, z0: Tensor, y0: Tensor, from_x0: Tensor, sizes: tuple[Any, ...], options: dict[str, Any]
    ) -> Tensor:
        y, from_x = functional.max_pool2d(z, *sizes, **options)
        decided = torch.where(y >= y0, from_x, from_x0).flatten(2)
        moved = (z - z0).flatten(2).gather(2, decided).view_as(y)
        near = moved.abs() < NEAR
        ctx.save_for_backward(torch.where(near, 1.0, (y - y0) / torch.where(near, 1.0, moved)), decided)
        ctx.shape = z.shape
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        multiplier, decided = ctx.saved_tensors
        given = (gradients[0] * multiplier).flatten(2)
        zero = multiplier.new_zeros(ctx.shape).flatten(2)
        to_z = zero.scatter_add(2, decided, given).view(ctx.shape)  # windows may overlap
        return to_z, None, None, None, None, None
