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
- Group, instance and RMS norms follow the layer norm.
- A softmax is exp(z - log sum exp z), and log sum exp has the multipliers of a mean softmax (see ``multipliers``).
  Attention is computed by its formula. A product of matrices is a product: each factor gets the mean of the other.
- Where ``where`` decides otherwise for the reference, both operands share the difference by their squared differences.
- Any other function that is not linear keeps its gradient. The attributions then do not sum to the difference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from pipeline.errors import NetworkError
from pipeline.query.multipliers import Rescale, depends, references, tensors, with_reference
from pipeline.query.rules import RULES

ELEMENTWISE = (
    "relu relu6 hardtanh leaky_relu prelu rrelu elu celu selu silu mish gelu hardswish hardsigmoid sigmoid "
    "special_expit logsigmoid log_sigmoid softplus softsign tanh tanhshrink hardshrink softshrink threshold clamp "
    "clamp_min clamp_max clip abs absolute square sqrt rsqrt reciprocal rdiv pow rpow exp expm1 exp2 log log1p log2 "
    "log10 sin cos tan sinh cosh asin acos atan asinh acosh atanh erf erfc sinc logit nan_to_num"
)
NAMES = {"axis": "dim", "keepdims": "keepdim"}  # NumPy's names, which PyTorch takes too


class rescale_rules(TorchFunctionMode):  # a context manager, so in lower case
    """Context in which a network's backward pass carries multipliers.

    Run the network on an input of ``with_reference``. Each tensor that depends on this input carries its value for
    the reference as ``tensor.reference``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open: set[Callable[..., Any]] = set()  # functions of PyTorch under way

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the function on the reference's values too, and apply its rule if it has one.

        Raises NetworkError on a tensor whose operations were not seen here, and which therefore has no reference.
        """
        kwargs = dict(kwargs or {})
        given = list(tensors((args, kwargs)))
        if function in (torch.autograd.grad, Tensor.requires_grad_):
            return function(*args, **kwargs)
        if any(tensor.requires_grad and not depends(tensor) for tensor in given):  # parameters are frozen
            raise hidden()
        if not any(map(depends, given)):
            return function(*args, **kwargs)
        name = function.__name__
        rule = ALL_RULES.get(name.strip("_"))
        overwrites = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        if overwrites and isinstance(args[0], Tensor) and not depends(args[0]):
            with_reference(args[0], args[0].detach().clone())  # from now on it depends on the input
        if rule is None:
            return self._without_rule(function, args, kwargs)
        args, kwargs = _by_position(args, kwargs)
        in_place = kwargs.pop("inplace", False) or overwrites
        whole = len(given) == 1 and given[0].is_floating_point() and given[0]._base is None
        if in_place and whole and rule is _elementwise:
            return _elementwise(self, function, *args, in_place=True, **kwargs)
        if in_place:  # the rule needs the values that it overwrites
            z, z0 = args[0], args[0].reference
            args = (with_reference(z.clone(), z0.clone()), *args[1:])
        y = rule(self, function, *args, **kwargs) if _takes(rule, (self, function, *args), kwargs) else NotImplemented
        if y is NotImplemented:
            y = self._linear(function, args, kwargs)
        if in_place:  # later readers of the tensor must see the new values
            y = with_reference(z.copy_(y), z0.copy_(y.reference))
        return y

    def _without_rule(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Look into a function that PyTorch writes in Python, as ``F.normalize``; take any other for linear."""
        is_written_out = isinstance(function, FunctionType) and function.__module__ == "torch.nn.functional"
        if is_written_out and function not in self._open:  # `fractional_max_pool2d` would call itself
            self._open.add(function)
            try:
                with self:
                    return _opened(function)(*args, **kwargs)
            finally:
                self._open.remove(function)
        return self._linear(function, args, kwargs)

    def _linear(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with torch.no_grad():
            y0 = function(*references(args), **references(kwargs))
        y = function(*args, **kwargs)
        if isinstance(y, Tensor):
            return with_reference(y, y0)
        return tree_map(lambda one, other: with_reference(one, other) if isinstance(one, Tensor) else one, y, y0)


def hidden() -> NetworkError:
    """Return the error for operations that are not called as functions of PyTorch."""
    return NetworkError(
        "DeepLIFT does not see all operations of this network: a part is scripted, or leaves PyTorch. Fix: explain the "
        "network from before `torch.jit`, or choose another explainer"
    )


def _by_position(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with the operands in front, and with PyTorch's own names for the others."""
    for operand in ("input", "self", "other"):
        if operand in kwargs:
            args = (*args, kwargs.pop(operand))
    return args, {NAMES.get(name, name): value for name, value in kwargs.items()}


def _takes(rule: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        _signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@cache
def _signature(rule: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(rule)


@cache
def _opened(function: FunctionType) -> Callable[..., Any]:
    """Return a function of PyTorch that calls its parts one by one, where a mode sees them."""

    def no(*_: Any) -> bool:
        return False

    closed = {name: no for name in function.__globals__ if name.startswith("has_torch_function")}
    opened = FunctionType(
        function.__code__, {**function.__globals__, **closed}, None, function.__defaults__, function.__closure__
    )
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


def _elementwise(
    mode: rescale_rules,
    function: Callable[..., Tensor],
    z: Any,
    *rest: Any,
    in_place: bool = False,
    **options: Any,
) -> Any:
    others = (*rest, *options.values())
    if not depends(z) or not z.is_floating_point() or any(map(depends, others)):
        return NotImplemented

    def f(values: Tensor) -> Tensor:
        return function(values.clone() if overwrites else values, *rest, **options)

    overwrites = function.__name__.endswith("_")
    single = not any(isinstance(other, Tensor) for other in others)
    y0 = f(z.reference).detach()
    y = Rescale.apply(z, z.reference, y0, f, single, in_place)
    return y if in_place else with_reference(y, y0)


ALL_RULES: dict[str, Callable[..., Any]] = {**dict.fromkeys(ELEMENTWISE.split(), _elementwise), **RULES}
