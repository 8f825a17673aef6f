"""Find the modules for which DeepLIFT has no rule, so that its attributions do not sum to the output's difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.models.modes import as_written, frozen
from pipeline.query.multipliers import depends, with_reference
from pipeline.query.rescale import rescale_rules

INCOMPLETE = 0.01  # share of a difference that attributions may miss
NEAR = 0.001  # logits that count as equal
DOUBLES = ("cpu", "cuda", "xpu")  # devices with double precision

Inputs = tuple[tuple[Any, ...], dict[str, Any]]  # a module's positional and named arguments


def uncovered(model: nn.Module, x: Tensor, reference: Tensor) -> list[str] | None:
    """Return the innermost modules with an operation that has no rule, in order, as "features.3 (Softmax)".

    Such a module does not conserve: given the output's difference d as the output's multiplier,
    sum m_in (in - in0) differs from sum d^2 by more than 1%. Each module runs a second time on a copy of its input, so
    that other readers of that input have no influence, and in double precision, to exclude rounding. A network that
    fixes its precision runs in that precision. The result is None if this second run fails: a diagnosis breaks no run.

    Args:
        model: Any network that takes (B, C, H, W).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
    """
    for precision in _precisions(x):
        try:
            return _broken(model, x.to(precision), reference.to(precision))
        except Exception:  # a network may raise anything where it runs otherwise than usual
            continue
    return None


def mixes(model: nn.Module, x: Tensor, reference: Tensor, place: list[int]) -> bool:
    """Return True if the output for one reference depends on what else is in the batch, by more than 1%.

    This is measured in double precision, to exclude rounding, where the network and the device have it.

    Args:
        model: Any network that takes (B, C, H, W).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
        place: The position of the reference.
    """
    for precision in _precisions(x):
        network = _in_precision(model, precision)
        images, references = x.detach().to(precision, copy=True), reference.detach().to(precision, copy=True)
        try:
            with as_written(model), frozen(model), torch.no_grad():
                alone = network(references[place].clone())
                with rescale_rules():
                    paired: Any = network(with_reference(images, references))
        except Exception:  # a network may raise anything where it runs otherwise than usual
            continue
        return not torch.allclose(paired.reference[place], alone, rtol=INCOMPLETE, atol=NEAR)
    return False


def _precisions(x: Tensor) -> list[torch.dtype]:
    return [torch.float64, x.dtype] if x.device.type in DOUBLES else [x.dtype]


def _broken(model: nn.Module, x: Tensor, reference: Tensor) -> list[str]:
    names = {module: name for name, module in model.named_modules()}
    broken: list[str] = []
    inputs: list[Inputs] = []  # a stack: of the modules that have not returned yet
    measuring = False

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not measuring:
            inputs.append((tuple(map(_copied, args)), {key: _copied(value) for key, value in kwargs.items()}))

    def leave(module: nn.Module, *_: Any) -> None:
        nonlocal measuring
        if not measuring:
            measuring = True
            if not _conserves(module, *inputs.pop()):
                broken.append(names[module])
            measuring = False

    handles = []
    try:
        for module in names:
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        with as_written(model), frozen(model), torch.enable_grad(), rescale_rules():
            paired = with_reference(x.detach().clone(), reference.detach().clone())
            _in_precision(model, x.dtype)(paired.requires_grad_().clone())
    finally:
        for handle in handles:
            handle.remove()
    innermost = [n for n in names.values() if n in broken and not any(_within(other, n) for other in broken)]
    types = {name: type(module).__name__ for module, name in names.items()}
    return [f"{name or 'the network itself'} ({types[name]})" for name in innermost]


def _in_precision(model: nn.Module, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return the network as a function in a precision; the network itself stays as it is."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    converted = {key: t.detach().to(precision) if t.is_floating_point() else t for key, t in tensors.items()}
    return lambda images: functional_call(model, converted, (images,))


def _conserves(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if the module's input attributions sum to its output's difference, to 1%."""
    operands = [operand for operand in (*args, *kwargs.values()) if depends(operand)]
    if not operands:
        return True
    copies = {id(operand): operand.clone() for operand in operands}  # which the module may overwrite
    output = module.forward(
        *(copies.get(id(operand), operand) for operand in args),
        **{key: copies.get(id(operand), operand) for key, operand in kwargs.items()},
    )
    with torch._C.DisableTorchFunction():  # the sums below are no operations of the network
        results = [y for y in (output if isinstance(output, tuple | list) else [output]) if depends(y)]
        results = [y for y in results if y.is_floating_point()]
        differences = [_difference(y) for y in results]
        energy = sum(float(d.square().sum()) for d in differences)
        pulled = [(y * d).sum() for y, d in zip(results, differences, strict=True) if y.requires_grad]
        if not pulled:  # the output does not depend on the input
            return energy == 0
        multipliers = torch.autograd.grad(torch.stack(pulled).sum(), operands, allow_unused=True)
        pairs = [(m, operand) for m, operand in zip(multipliers, operands, strict=True) if m is not None]
        attributed = sum(float((m * _difference(operand)).sum()) for m, operand in pairs)
    return abs(attributed - energy) <= INCOMPLETE * energy


def _difference(tensor: Any) -> Tensor:
    """Return a tensor's difference from its counterpart for the reference."""
    difference: Tensor = tensor.detach() - tensor.reference
    return difference


def _copied(operand: Any) -> Any:
    if not isinstance(operand, Tensor):
        return operand
    copy = operand.detach().clone()
    return copy.requires_grad_() if operand.requires_grad else copy


def _within(inner: str, outer: str) -> bool:
    """Return True if the first module's name lies below the second module's name."""
    return inner != outer and (not outer or inner.startswith(outer + "."))
