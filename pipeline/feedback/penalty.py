"""The masked input-gradient penalty (Eq. 2), which makes a network look away from marked regions.

Serrano e Silva et al. 2023, Eq. 2:  L = CE + lambda * sum_ij W_ij (d y / d x_ij)^2, after Ross, Hughes and
Doshi-Velez 2017, *Right for the Right Reasons*, https://arxiv.org/abs/1703.03717. x is the network's normalised
input; the squared gradient is summed over colour channels.

The paper does not name the scalar y. ``Output`` offers:

- ``logits``: the sum of the logits, as in the paper's code;
- ``log-probs``: the sum of the log-probabilities, as in Ross et al.;
- ``predicted``: the logit of the predicted class, and ``ce``: the cross-entropy with the true class; both as in
  Dreyer et al. 2023, *Reveal to Revise*, https://arxiv.org/abs/2303.12641;
- ``projection``: y = sum_c v_c z_c. The direction v is drawn from N(0, 1) for each image and step, and centred over
  classes, because softmax ignores a shift. In a plain sum, opposite effects on two logits cancel and hide evidence;
  in a random direction they do not. The expected square is the sum of all centred logits' squared gradients, at the
  cost of one gradient (Hoffman, Roberts and Yaida 2019, *Robust Learning with Jacobian Regularization*,
  https://arxiv.org/abs/1908.02729).

With findings, of which each is there or not, a mark belongs to one of them. The scalar is then of that finding alone:
``predicted`` is its logit, ``log-probs`` and ``ce`` are of its two answers. The others mix findings, and are refused.

The penalty of an image follows from the gradient g = d y / d x and W by a ``Form``:

- ``eq2``: sum W g², as Eq. 2;
- ``eq2-mean``: the same over 3 H W, as in the paper's code. Its lambda of 1e6 equals 6.6 under the sum at 224 pixels;
- ``share``: sum W g² / sum g², the masked share of the gradient's energy, 0..1. It has no scale, whereas Eq. 2's
  squared gradient spans decades between images and epochs;
- ``cosine``: the cosine between |sum_c g| and W, 0..1, as in Reveal to Revise. It has no scale either;
- ``late``: the masked share of a late layer's Grad-CAM map, without second derivatives below it (``feedback.late``);
- ``as-published``: the paper's code. It builds no graph for g, so its penalty changes no weight. The placebo of the
  same name trains with it; all other forms build the graph, and ``feedback.check`` proves it in each run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.choices import Form, OfFindings, Output, assert_known
from pipeline.errors import NetworkError, NumericalError
from pipeline.feedback.double_backward import cheap_second_derivatives, current
from pipeline.feedback.late import late
from pipeline.feedback.second_derivatives import twice_differentiable
from pipeline.models import outputs
from pipeline.models.modes import as_written, in_eval
from pipeline.models.tasks import FINDINGS

OF_FINDINGS: tuple[OfFindings, ...] = get_args(OfFindings)


@torch.inference_mode(False)  # records gradients in any context of the caller
def penalty(
    model: nn.Module,
    x: Tensor,
    w: Tensor,
    *,
    form: Form,
    output: Output,
    labels: Tensor | None = None,
    finding: Tensor | None = None,
    fast: bool = True,
    direction: Tensor | None = None,
) -> Tensor:
    """Return the penalty of each image, differentiable with respect to the model's weights.

    The model is in eval mode meanwhile, and its modes and statistics are restored. An image's penalty therefore
    depends on neither the other images of the batch nor dropout. Autocast is off: the result is float32 or wider.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images without augmentation, (B, C, H, W).
        w: Masks (B, H, W) or (B, 1, H, W): 1 where the model must not look, 0..1 where experts disagree.
        form: How gradient and mask become the penalty.
        output: The scalar whose gradient is taken.
        labels: Class numbers (B,), or 0 and 1 for each finding (B, k), for ``ce``.
        finding: The number of the finding (B,) that each mask belongs to; None for classes.
        fast: Replace PyTorch's double backward by cheaper formulas; ``feedback.check`` compares both.
        direction: Directions (B, classes) from N(0, 1), for ``projection``; None draws them.

    Returns:
        Penalties (B,).

    Raises:
        ValueError: A word is unknown, or masks, labels or directions do not fit the images.
        NetworkError: The network returns no logits, its only logit makes this output constant, or its operations
            cannot be differentiated twice.
        NumericalError: Logits, gradient or penalty are infinite or NaN.
    """
    assert_known(form, Form, "form")
    assert_known(output, Output, "output")
    outputs.assert_inputs(model, x)
    w = masks_of(w, x)

    def scalar(logits: Tensor) -> Tensor:
        if finding is None:
            return _scalar(logits, output, labels=labels, direction=direction)
        return _scalar_of_finding(logits, output, labels=labels, finding=finding)

    with outputs.differentiating(model), as_written(model), in_eval(model):
        if form == "as-published":
            return _as_published(model, x, w)
        if form == "late":
            with twice_differentiable():
                return late(model, x, w, scalar)
        return _second_order(model, x, w, form=form, scalar=scalar, fast=fast)


def _second_order(
    model: nn.Module, x: Tensor, w: Tensor, *, form: Form, scalar: Callable[[Tensor], Tensor], fast: bool
) -> Tensor:
    """Return penalties (B,) of the input gradient, and keep the gradient's own graph."""
    # The cheap formulas keep operands that were overwritten in place, and scripted modules would read these.
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().clone().requires_grad_()
        with twice_differentiable(), cheap_second_derivatives() if fast and not scripted else nullcontext():
            logits = current(outputs.logits(model, x))
        (gradient,) = torch.autograd.grad(scalar(logits), x, create_graph=True)
        penalties = FORMS[form](gradient if gradient.dtype == torch.float64 else gradient.float(), w)
    _assert_finite(logits, gradient, penalties)
    return penalties


def eq2(gradient: Tensor, w: Tensor) -> Tensor:
    """Return sum W g² (B,) of gradients (B, C, H, W) and masks (B, H, W)."""
    return (w * _energy(gradient)).sum(dim=(1, 2))


def eq2_mean(gradient: Tensor, w: Tensor) -> Tensor:
    """Return sum W g² / (C H W), (B,)."""
    return eq2(gradient, w) / gradient[0].numel()


def share(gradient: Tensor, w: Tensor) -> Tensor:
    """Return sum W g² / sum g², (B,), 0..1."""
    energy = _energy(gradient)
    return (w * energy).sum(dim=(1, 2)) / energy.sum(dim=(1, 2)).clamp(min=torch.finfo(energy.dtype).tiny)


def cosine(gradient: Tensor, w: Tensor) -> Tensor:
    """Return the cosine between |sum_c g| and W, (B,), 0..1."""
    return F.cosine_similarity(gradient.sum(dim=1).abs().flatten(1), w.to(gradient).flatten(1))


FORMS: dict[Form, Callable[[Tensor, Tensor], Tensor]] = {
    "eq2": eq2,
    "eq2-mean": eq2_mean,
    "share": share,
    "cosine": cosine,
}


def _as_published(model: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """Return the penalties (B,) of the paper's code: constants, from which no weight learns.

    Without ``create_graph=True``, the gradient of the summed logits has no graph. Departure: the paper's code runs in
    train mode, where masked images change BatchNorm's statistics.
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(outputs.logits(model, x).sum(), x, retain_graph=True)
    return (w[:, None] * gradient).square().flatten(1).mean(dim=1)


def _scalar(logits: Tensor, output: Output, *, labels: Tensor | None, direction: Tensor | None) -> Tensor:
    """Return the scalar y, summed over the batch, whose gradient is penalised."""
    if logits.shape[1] == 1 and output in ("log-probs", "ce", "projection"):
        raise NetworkError(
            f"the network has one logit, for which the output {output!r} is constant. "
            "Fix: use the output `logits`, or a network with a logit for each class"
        )
    if output == "logits":
        return logits.sum()
    if output == "log-probs":
        return torch.log_softmax(logits, dim=1).sum()
    if output == "predicted":
        return logits.amax(dim=1).sum()
    if output == "projection":
        v = torch.randn_like(logits) if direction is None else direction.to(logits)
        if v.shape != logits.shape:
            raise ValueError(
                f"directions must be (B, classes), here {tuple(logits.shape)}, but they are {tuple(v.shape)}. "
                "Fix: draw one number for each logit"
            )
        return (logits * (v - v.mean(dim=1, keepdim=True))).sum()
    if labels is None:
        raise ValueError("the output 'ce' needs labels. Fix: pass `labels`")
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels must be one class number for each of {len(logits)} images, but they are {tuple(labels.shape)}. "
            "Fix: pass labels (B,)"
        )
    outputs.assert_classes(labels, logits.shape[1], "labels")
    return F.cross_entropy(logits, labels, reduction="sum")


def _scalar_of_finding(logits: Tensor, output: Output, *, labels: Tensor | None, finding: Tensor) -> Tensor:
    """Return the scalar y, summed over the batch, of one finding an image."""
    if output not in OF_FINDINGS:
        raise ValueError(f"the output {output!r} mixes findings. Fix: use {', '.join(OF_FINDINGS)}")
    outputs.assert_classes(finding, logits.shape[1], "findings")
    column = finding.to(logits.device)[:, None]
    z = logits.gather(1, column)
    if output == "predicted":
        return z.sum()
    there = None if labels is None else labels.to(logits.device).gather(1, column)[:, 0]
    return _scalar(FINDINGS.answers(z)[:, 0], output, labels=there, direction=None)


def masks_of(w: Tensor, x: Tensor) -> Tensor:
    """Return masks as (B, H, W); raise ValueError where they would not act on their own image alone."""
    whole = (len(x), *x.shape[-2:])
    shape = tuple(w.shape) if isinstance(w, Tensor) and not w.is_complex() else outputs.words(w)
    if shape not in (whole, (len(x), 1, *x.shape[-2:])):
        raise ValueError(
            f"masks must be tensors (B, H, W) or (B, 1, H, W), here {whole}, but they are {shape}. "
            "Fix: give each image one mask of its own height and width"
        )
    if w.dtype != torch.bool and not ((w >= 0) & (w <= 1)).all():
        raise ValueError("masks must be 0..1, but a value is outside or NaN. Fix: divide masks of 0 and 255 by 255")
    return w.reshape(whole).clone()  # a tensor of inference mode cannot be differentiated, its copy can


def _energy(gradient: Tensor) -> Tensor:
    """Return the squared gradient summed over channels, (B, H, W)."""
    return gradient.square().sum(dim=1)


def _assert_finite(logits: Tensor, gradient: Tensor, penalties: Tensor) -> None:
    if torch.isfinite(penalties).all():
        return
    for name, tensor in [
        ("logits are", logits),
        ("input gradient is", gradient),
        ("squared input gradient is", penalties),
    ]:
        bad = ~torch.isfinite(tensor.detach().flatten(1) if tensor.ndim > 1 else tensor[:, None]).all(dim=1)
        if bad.any():
            narrow = gradient.dtype in (torch.float16, torch.bfloat16)
            raise NumericalError(
                f"the network's {name} infinite or NaN for {int(bad.sum())} of {len(bad)} masked images, in "
                f"{str(gradient.dtype).removeprefix('torch.')}. Fix: "
                + ("keep the weights in float32, half precision overflows" if narrow else "lower `penalty.weight`")
            )
