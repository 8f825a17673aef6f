"""DeepLIFT-Rescale, the paper's explainer, for any network (paper, section 3.1).

Shrikumar, Greenside and Kundaje 2017, https://arxiv.org/abs/1704.02685. The rules are in ``rescale``. The
implementation is the project's own: captum has no rule for SiLU, ReLU6, GELU and the product of squeeze-excite, and
uses plain gradients there.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from pipeline.models.modes import frozen
from pipeline.query.completeness import INCOMPLETE, uncovered
from pipeline.query.rescale import rescale_rules, with_reference

FLOOR = 0.1  # logits; the error is relative to a difference of at least this size


def deeplift(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Attribute the target logits to pixels, by one forward pass over images and reference and one backward pass.

    The network is in eval mode meanwhile, and is left as it was. Where the completeness error exceeds 1%, a
    UserWarning names the modules without a rule. If all modules have rules, rounding causes the error: the reference
    is then far from all images that the network knows.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
        target: Class numbers (B,).

    Returns:
        The signed saliency (B, H, W), summed over channels, and the completeness error (B,):
        |sum of attributions - (f(x) - f(x0))| / max(|f(x) - f(x0)|, 0.1 logits).
    """
    leaf = x.detach().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    with frozen(model), torch.enable_grad():
        paired = with_reference(leaf.clone(), reference.detach().clone())  # copies, which the network may overwrite
        with rescale_rules():
            logits = model(paired)
        (multipliers,) = torch.autograd.grad(logits[rows, target].sum(), leaf)
    saliency = (multipliers * (x - reference)).sum(dim=1).detach()
    difference = (logits.detach() - logits.reference)[rows, target]
    error = (saliency.sum(dim=(1, 2)) - difference).abs() / difference.abs().clamp(min=FLOOR)
    if not float(error.max()) <= INCOMPLETE:  # also true for NaN
        worst = [int(error.argmax())]
        names = uncovered(model, x[worst], reference[worst])
        lacking = f"it has no rule for an operation in {', '.join(names)}, and uses the gradient there"
        rounding = "rounding error: large values cancel although every module has a rule. Fix: use another reference"
        warnings.warn(
            f"DeepLIFT misses {float(error.max()):.1%} of the output's difference from the reference: "
            f"{lacking if names else rounding}",
            stacklevel=2,
        )
    return saliency, error
