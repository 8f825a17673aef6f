"""Attributions: how much each pixel of an image moved a classifier's output.

For any ``nn.Module`` that takes (B, C, H, W) and returns logits (B, classes); the network is
explained in eval mode, and left exactly as it was. DeepLIFT is the project's own, since captum's
falls back to plain gradients at SiLU, ReLU6, GELU and squeeze-excite: see pipeline/query/rescale.py for its
rules. Captum's other explainers are behind the same function, for comparison.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.transforms.v2 import functional as vision

from pipeline.choices import Method
from pipeline.feedback.penalty import in_eval
from pipeline.query.rescale import depends, rescale_rules, with_reference

INCOMPLETE = 0.01  # share of the output's difference that DeepLIFT's attributions may miss
FLOOR = 0.1  # logits; a smaller difference is taken to be this large when its share is missed
DOUBLES = ("cpu", "cuda", "xpu")  # devices that know double precision
AT_ONCE = 32  # images; integrated gradients evaluates 50 an image


def attribute(
    model: nn.Module, x: Tensor, reference: Tensor, target: Tensor | int | None = None, method: Method = "deeplift"
) -> Tensor:
    """Signed saliency (B, H, W), summed over channels: what speaks for the target is positive.

    ``x`` and ``reference`` (B, C, H, W) as the network takes them; ``target``: class numbers (B,), one for
    all, or None for the predicted ones. Methods: ``deeplift`` (see there);
    ``integrated-gradients`` from the reference, Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365,
    50 steps; ``input-x-gradient``, which knows no reference; ``grad-cam``, Selvaraju et al. 2017,
    https://arxiv.org/abs/1610.02391, of the last layer with a spatial output, bilinearly enlarged, without
    the paper's final ReLU and without a reference. Raises ValueError on an unknown method, and
    where Grad-CAM finds no such layer.
    """
    if method not in get_args(Method):
        raise ValueError(f"no explainer {method!r}; choose one of {', '.join(get_args(Method))}")
    if target is None:
        with _frozen(model), torch.no_grad():
            target = model(x).argmax(dim=1)
    targets = torch.as_tensor(target, device=x.device).expand(len(x))
    if method == "deeplift":
        return deeplift(model, x, reference, targets)[0]

    from captum.attr import InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam

    images = x.detach().clone().requires_grad_()
    with _frozen(model), torch.enable_grad():
        if method == "integrated-gradients":
            steps = {"n_steps": 50, "internal_batch_size": max(AT_ONCE, len(x))}
            found = IntegratedGradients(model).attribute(images, reference, targets, **steps)
        elif method == "input-x-gradient":
            found = InputXGradient(model).attribute(images, targets)
        else:
            coarse = LayerGradCam(model, _last_spatial(model, x)).attribute(images, targets)
            found = LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear")
    return found.sum(dim=1).detach()


def deeplift(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """DeepLIFT-Rescale of the target logits: a forward pass over x and x0, and a backward pass over x.

    ``x`` and ``reference`` (B, C, H, W), ``target`` (B,) class numbers. Returns the signed
    saliency (B, H, W), summed over channels, and the completeness error (B,):
    |sum of attributions - (f(x) - f(x0))| / max(|f(x) - f(x0)|, 0.1 logits). Where that is above 1%, a
    UserWarning names the modules that do something without a rule (pipeline/query/rescale.py), or says
    that there are none and large numbers cancel: then the reference is far from all that the network knows.
    """
    leaf = x.detach().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    with _frozen(model), torch.enable_grad():
        given = with_reference(leaf.clone(), reference.detach().clone())  # which the network may overwrite
        with rescale_rules():
            logits = model(given)
        (multipliers,) = torch.autograd.grad(logits[rows, target].sum(), leaf)
    saliency = (multipliers * (x - reference)).sum(dim=1).detach()
    difference = (logits.detach() - logits.reference)[rows, target]
    error = (saliency.sum(dim=(1, 2)) - difference).abs() / difference.abs().clamp(min=FLOOR)
    if not float(error.max()) <= INCOMPLETE:  # so that NaN is no success
        worst = [int(error.argmax())]
        names = uncovered(model, x[worst], reference[worst])
        lacking = f"it has no rule for something in {', '.join(names)}, and passes on gradients there"
        rounding = "numbers too large for their precision cancel, though every module has a rule; try another reference"
        warnings.warn(
            f"DeepLIFT misses {float(error.max()):.1%} of the output's difference from the reference: "
            f"{lacking if names else rounding}",
            stacklevel=2,
        )
    return saliency, error


def uncovered(model: nn.Module, x: Tensor, reference: Tensor) -> list[str]:
    """The innermost modules that do something without a rule, in order, as "features.3 (Softmax)".

    Such a module does not conserve: with its output's difference d itself as the output's multiplier,
    sum m_in (in - in0) is not sum d^2, to within 1%. Each module is run a second time, by itself, on the
    input that it got, so that what else reads that input plays no part; in double precision, so that
    rounding plays none.
    """
    names = {module: name for name, module in model.named_modules()}
    broken: list[str] = []
    inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []  # of the modules that have not returned yet
    measuring = False
    rules = rescale_rules()

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
        with _frozen(model), torch.enable_grad(), rules:
            network, precision = (_doubled(model), torch.float64) if x.device.type in DOUBLES else (model, x.dtype)
            given = with_reference(x.detach().to(precision, copy=True), reference.detach().to(precision, copy=True))
            network(given.requires_grad_().clone())
    finally:
        for handle in handles:
            handle.remove()
    innermost = [n for n in names.values() if n in broken and not any(_within(other, n) for other in broken)]
    types = {name: type(module).__name__ for module, name in names.items()}
    return [f"{name or 'the network itself'} ({types[name]})" for name in innermost]


def blurred(images: Tensor, sigma: float = 0.1, reach: float = 2.0) -> Tensor:
    """The reference for (B, C, S, S) images: a copy blurred until no region stands out.

    Gaussian whose ``sigma`` is a share of the side S, cut off at ``reach`` sigmas.
    """
    pixels = sigma * images.shape[-1]
    kernel = 2 * round(reach * pixels) + 1
    return vision.gaussian_blur(images, [kernel, kernel], [pixels, pixels])


def plain(images: Tensor, colour: Tensor | float) -> Tensor:
    """The reference for (B, C, H, W) images: one colour, as a number or (1, C, 1, 1): 1 is white, 0 black."""
    return torch.zeros_like(images) + colour


def _doubled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network in double precision, without a change to the network."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    doubles = {key: t.detach().double() if t.is_floating_point() else t for key, t in tensors.items()}
    return lambda images: functional_call(model, doubles, (images,))


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """The network in eval mode with parameters that require no gradient; afterwards, as it was."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with in_eval(model):
            yield
    finally:
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


def _conserves(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    operands = [operand for operand in (*args, *kwargs.values()) if depends(operand)]
    if not operands:
        return True
    passed = {id(operand): operand.clone() for operand in operands}  # which the module may overwrite
    given = module.forward(
        *(passed.get(id(operand), operand) for operand in args),
        **{key: passed.get(id(operand), operand) for key, operand in kwargs.items()},
    )
    with torch._C.DisableTorchFunction():  # what follows is about the module, not of it
        results = [y for y in (given if isinstance(given, tuple | list) else [given]) if depends(y)]
        results = [y for y in results if y.is_floating_point()]
        moved = [_difference(y) for y in results]
        energy = sum(float(d.square().sum()) for d in moved)
        pulled = [(y * d).sum() for y, d in zip(results, moved, strict=True) if y.requires_grad]
        if not pulled:  # what it returns is cut off from what it got
            return energy == 0
        multipliers = torch.autograd.grad(torch.stack(pulled).sum(), operands, allow_unused=True)
        pairs = [(m, operand) for m, operand in zip(multipliers, operands, strict=True) if m is not None]
        attributed = sum(float((m * _difference(operand)).sum()) for m, operand in pairs)
    return abs(attributed - energy) <= INCOMPLETE * energy


def _difference(tensor: Any) -> Tensor:
    moved: Tensor = tensor.detach() - tensor.reference
    return moved


def _copied(operand: Any) -> Any:
    if not isinstance(operand, Tensor):
        return operand
    copy = operand.detach().clone()
    return copy.requires_grad_() if operand.requires_grad else copy


def _within(inner: str, outer: str) -> bool:
    return inner != outer and (not outer or inner.startswith(outer + "."))


def _last_spatial(model: nn.Module, x: Tensor) -> nn.Module:
    """The last of the network's modules to return (B, channels, h > 1, w > 1)."""
    found: list[nn.Module] = []

    def leave(module: nn.Module, args: Any, y: Any) -> None:
        if isinstance(y, Tensor) and y.ndim == 4 and min(y.shape[2:]) > 1:
            found.append(module)

    handles = [module.register_forward_hook(leave) for module in model.modules() if module is not model]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            f"Grad-CAM needs a layer that returns (B, channels, height, width), and {type(model).__name__} has none "
            f"with more than one place at {x.shape[2]} x {x.shape[3]} pixels; use larger images or another explainer"
        )
    return found[-1]
