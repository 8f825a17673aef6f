"""DeepLIFT-Rescale as rules for functions: inside ``rescale_rules``, backward passes carry multipliers.

Shrikumar, Greenside and Kundaje 2017, *Learning Important Features Through Propagating
Activation Differences*, https://arxiv.org/abs/1704.02685: linear rule (their eq. 6) and rescale
rule (eq. 12). A network runs once over [x; x0]; wherever it calls a function that is not linear,
the gradient is replaced by a multiplier m with sum m (z - z0) = y - y0. Since functions are
matched, and not modules, nothing in the network is swapped, and ``F.silu(z)``, ``z.sigmoid()`` and
``z * gate`` in somebody's own ``forward`` follow the same rules. What the paper leaves open:

- a function of single elements, whichever it is, follows the rescale rule;
- a product of two activations (squeeze-excite) gives each factor the mean of the other's two
  values: a b - a0 b0 = (a - a0)(b + b0)/2 + (b - b0)(a + a0)/2; a quotient is a product with 1/b;
- a window of a max pool gives its difference to the one position that decided it, as SHAP and
  captum do: x's largest if it beats the reference's, else the reference's. No multiplier exceeds 1;
- a layer norm is what it is made of: a mean, a square, an inverse root and a product. Its product takes the
  smaller of the two inverse roots, and the other's centred values, instead of means: a reference of one colour
  may have an inverse root of 1000, whose large multipliers would have to cancel, layer after layer;
- whatever else is not linear keeps its gradient, and the attributions then do not add up.

Operands that require a gradient are taken to depend on the input, so that no other may: parameters
must be frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

NEAR = 1e-6  # where input and reference are this close, the rule's limit, the derivative, is used
ELEMENTWISE = (
    "relu relu6 hardtanh leaky_relu prelu elu celu selu silu mish gelu hardswish hardsigmoid sigmoid special_expit "
    "logsigmoid log_sigmoid softplus softsign tanh tanhshrink hardshrink softshrink threshold clamp clamp_min "
    "clamp_max clip abs absolute square sqrt rsqrt reciprocal rdiv pow rpow exp expm1 log log1p log2 log10 sin cos erf"
)


class rescale_rules(TorchFunctionMode):  # a context manager, and named as one
    """Context in which a network runs over [x; x0], ``rows`` = 2 B images, for multipliers instead of gradients.

    Every dependent tensor's first dimension must hold x's half and then x0's, as it does where a
    network keeps its batch first. Where it does not, no rule applies.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Apply the function's rule, if it has one; let everything else through."""
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        rule = RULES.get(name.strip("_"))
        if rule is None or not any(self.depends(operand) for operand in args):
            return function(*args, **kwargs)
        options = {key: value for key, value in kwargs.items() if key != "inplace"}
        y = rule(self, function, *args, **options)
        if y is NotImplemented:
            return function(*args, **kwargs)
        in_place = kwargs.get("inplace") or (name.endswith("_") and not name.endswith("__"))
        return args[0].copy_(y) if in_place else y  # who reads the tensor later must see the new values

    def depends(self, operand: Any) -> bool:
        """Whether an operand is a tensor that depends on [x; x0] and holds both halves."""
        if not isinstance(operand, Tensor) or not operand.requires_grad or operand.ndim == 0:
            return False
        return operand.shape[0] > 0 and operand.shape[0] % self.rows == 0


def _elementwise(mode: rescale_rules, function: Callable[..., Tensor], z: Any, *rest: Any, **options: Any) -> Any:
    if not mode.depends(z) or any(map(mode.depends, (*rest, *options.values()))):
        return NotImplemented
    return _Rescale.apply(z, lambda values: function(values, *rest, **options))


def _product(mode: rescale_rules, function: Callable[..., Tensor], a: Any, b: Any, **options: Any) -> Any:
    if options or not (mode.depends(a) and mode.depends(b)):
        return NotImplemented  # linear
    return _Product.apply(*torch.broadcast_tensors(a, b), 0.5)


def _quotient(mode: rescale_rules, function: Callable[..., Tensor], a: Any, b: Any, **options: Any) -> Any:
    if options or not mode.depends(b):
        return NotImplemented
    with mode:
        return torch.reciprocal(b) * a


def _max_pool(mode: rescale_rules, function: Callable[..., Tensor], z: Tensor, *sizes: Any, **options: Any) -> Tensor:
    pooled: Tensor = _MaxPool.apply(z, sizes, options | {"return_indices": True})
    return pooled


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
    first, second = scale.detach().chunk(2)
    y = _Product.apply(*torch.broadcast_tensors(centred, scale), (first < second).to(scale))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("mul", "multiply"), _product),
    **dict.fromkeys(("div", "divide", "true_divide"), _quotient),
    "max_pool2d": _max_pool,
    "layer_norm": _layer_norm,
}


class _Rescale(torch.autograd.Function):
    """y = f(z) over [z; z0]; backwards, the first half's gradient is multiplied by (y - y0)/(z - z0)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            y = f(leaf.clone())  # which f may overwrite
            (slope,) = torch.autograd.grad(y.sum(), leaf)
        slope = slope.nan_to_num(0.0, 0.0, 0.0)  # the square root's at 0: where nothing differs, it must not meet 0
        (z1, z0), (y1, y0) = z.chunk(2), y.detach().chunk(2)
        near = (z1 - z0).abs() < NEAR
        ctx.save_for_backward(torch.where(near, slope.chunk(2)[0], (y1 - y0) / torch.where(near, 1.0, z1 - z0)))
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (multiplier,) = ctx.saved_tensors
        first = gradients[0].chunk(2)[0] * multiplier
        return torch.cat([first, torch.zeros_like(first)]), None


class _Product(torch.autograd.Function):
    """a b over [a; a0] and [b; b0]; backwards, each factor's multiplier is a mean of the other's two values.

    a b - a0 b0 = (a - a0)(w b + (1 - w) b0) + (b - b0)(w a0 + (1 - w) a), for any ``w``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Any) -> Tensor:
        (a1, a0), (b1, b0) = a.chunk(2), b.chunk(2)
        ctx.save_for_backward(w * b1 + (1 - w) * b0, w * a0 + (1 - w) * a1)
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        to_a, to_b = ctx.saved_tensors
        first = gradients[0].chunk(2)[0]
        zero = torch.zeros_like(first)
        return torch.cat([first * to_a, zero]), torch.cat([first * to_b, zero]), None


class _MaxPool(torch.autograd.Function):
    """Largest values of windows over [z; z0]; backwards, what a window gets goes to the position that decided it."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, sizes: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        y, positions = functional.max_pool2d(z, *sizes, **options)
        (z1, z0), (y1, y0), (from_x, from_x0) = z.chunk(2), y.chunk(2), positions.chunk(2)
        decided = torch.where(y1 >= y0, from_x, from_x0).flatten(2)
        moved = (z1 - z0).flatten(2).gather(2, decided).view_as(y1)
        near = moved.abs() < NEAR
        ctx.save_for_backward(torch.where(near, 1.0, (y1 - y0) / torch.where(near, 1.0, moved)), decided)
        ctx.shape = z1.shape
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        multiplier, decided = ctx.saved_tensors
        zero = multiplier.new_zeros(ctx.shape)
        given = (gradients[0].chunk(2)[0] * multiplier).flatten(2)
        first = zero.flatten(2).scatter_add(2, decided, given).view(ctx.shape)  # windows may overlap
        return torch.cat([first, zero]), None, None
