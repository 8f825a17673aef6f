"""DeepLIFT-Rescale, the paper's explainer, for any network (paper, section 3.1).

Shrikumar, Greenside and Kundaje 2017, https://arxiv.org/abs/1704.02685. The rules are in ``rescale``. The
implementation is the project's own: captum has no rule for SiLU, ReLU6, GELU and the product of squeeze-excite, and
uses plain gradients there.
"""

from __future__ import annotations

import warnings
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from pipeline.errors import NetworkError
from pipeline.models import outputs
from pipeline.models.modes import as_written, frozen
from pipeline.query.completeness import INCOMPLETE, mixes, uncovered
from pipeline.query.multipliers import depends, with_reference
from pipeline.query.rescale import hidden, rescale_rules

FLOOR = 0.1  # logits; the error is relative to a difference of at least this size

_measured: WeakSet[nn.Module] = WeakSet()  # networks whose difference was measured without rules
_causes: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # of networks with a large error


class IncompleteError(NetworkError):
    """An explanation does not account for the network's output, so experts must not judge it."""


@torch.inference_mode(False)
def deeplift(
    model: nn.Module, x: Tensor, reference: Tensor, target: Tensor, *, limit: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attribute the target logits to pixels, by one forward pass over images and reference and one backward pass.

    The network is in eval mode meanwhile, and is left as it was. The completeness error of a network's first call
    compares the attributions with f(x) and f(x0), each of a pass of its own without rules. Later errors use the pass
    under the rules. Where an error exceeds 1%, a UserWarning names the modules without a rule, once for each
    network. If all modules have rules, rounding causes the error: the reference is then far from all images that the
    network knows.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
        target: Class numbers (B,).
        limit: The largest completeness error; None accepts any error.

    Returns:
        The signed saliency (B, H, W), summed over channels, and the completeness error (B,):
        |sum of attributions - (f(x) - f(x0))| / max(|f(x) - f(x0)|, 0.1 logits).

    Raises:
        NetworkError: The network hides operations, as a scripted module does, or recomputes them.
        IncompleteError: An error exceeds the limit.
    """
    outputs.assert_inputs(model, x)
    rows = torch.arange(len(x), device=x.device)
    with outputs.differentiating(model), as_written(model), frozen(model), torch.autocast(x.device.type, enabled=False):
        leaf = x.detach().clone().requires_grad_()
        paired = with_reference(leaf.clone(), reference.detach().clone())  # copies, which the network may overwrite
        with rescale_rules():
            logits = model(paired)
        outputs.assert_logits(model, logits, len(x))
        outputs.assert_classes(target, logits.shape[1], "target")
        if not depends(logits):
            raise hidden()
        (multipliers,) = torch.autograd.grad(logits[rows, target].sum(), leaf)
        saliency = (multipliers * (x - reference)).sum(dim=1).detach()
        difference = logits.detach() - logits.reference
        if model not in _measured:
            with torch.no_grad():
                difference = model(x.detach().clone()) - model(reference.detach().clone())
            _measured.add(model)
    difference = difference[rows, target]
    error = (saliency.sum(dim=(1, 2)) - difference).abs() / difference.abs().clamp(min=FLOOR)
    worst = float(error.max())
    if not worst <= INCOMPLETE:  # also true for NaN
        first, place = model not in _causes, [int(error.argmax())]
        if first:
            _causes[model] = _cause(model, x, reference, place)
        problem = f"DeepLIFT misses {worst:.1%} of the output's difference from the reference: {_causes[model]}"
        if limit is not None and not worst <= limit:
            raise IncompleteError(problem)
        if first:
            warnings.warn(problem, stacklevel=2)
    return saliency, error


def _cause(model: nn.Module, x: Tensor, reference: Tensor, place: list[int]) -> str:
    """Return why the attributions of the image at a place miss a part of its output."""
    names = uncovered(model, x[place], reference[place])
    if names is None:
        return "no module can be examined alone"
    if names:
        return f"it has no rule for an operation in {', '.join(names)}, and uses the gradient there"
    if mixes(model, x, reference, place):
        return f"{type(model).__name__} turns numbers of its input into constants, or mixes the images of a batch"
    return "rounding error: large values cancel although every module has a rule. Fix: use another reference"
