"""The masked input-gradient penalty: what makes the network look away.

Serrano e Silva et al. 2023, Eq. 2:  L = CE + lambda * sum_ij W_ij (d y / d x_ij)^2, after Ross,
Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, https://arxiv.org/abs/1703.03717.
x is the network's normalised input, the squared gradient is summed over colour channels.

Which y (``Output``), as the paper does not say:

- ``logits``: their sum, as in the paper's code;
- ``log-probs``: the sum of log-probabilities, Ross et al.'s;
- ``predicted``: the logit of the class that the network predicts; ``ce``: the cross-entropy with the true
  class; both as in Dreyer et al. 2023, *Reveal to Revise*, https://arxiv.org/abs/2303.12641;
- ``projection``: y = sum_c v_c z_c with v drawn from N(0, 1) anew for each image and step, centred over
  classes (softmax does not see a shift). In a sum, what raises one logit and lowers another cancels, and
  evidence can hide so; a random direction cannot be fooled. Its expected square is the sum of all centred
  logits' squared gradients, at the cost of one (Hoffman, Roberts and Yaida 2019, *Robust Learning with
  Jacobian Regularization*, https://arxiv.org/abs/1908.02729).

What becomes of the gradient g = d y / d x (``Form``):

- ``eq2``: sum W g², as Eq. 2 has it; ``eq2-mean``: that over 3 H W, as the paper's code, whose lambda of 1e6
  is 6.6 under the sum at 224 pixels;
- ``share``: sum W g² / sum g², the masked share of the gradient's energy, 0..1. It has no scale, while Eq. 2's
  squared gradient spans decades between images and epochs;
- ``cosine``: the cosine between |sum_c g| and W, 0..1, Reveal to Revise's; no scale either.

The paper's code builds no graph for g, so that its penalty has no effect on any weight: ours has, and
``check`` holds it to that. The form ``as-published`` is theirs, for the arm of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.choices import Form, Output
from pipeline.errors import PipelineError
from pipeline.feedback.double_backward import cheap_second_derivatives

AGREE = 0.04  # share of its norm by which the fast gradient may differ: rounding moves units across kinks


class DeadPenaltyError(PipelineError):
    """The penalty does not reach the weights; training on would be training without feedback."""


class NumericalError(PipelineError):
    """Something is no longer a finite number; the message says what."""


def penalty(
    model: nn.Module,
    x: Tensor,
    w: Tensor,
    form: Form,
    output: Output,
    labels: Tensor | None = None,
    fast: bool = True,
    direction: Tensor | None = None,
) -> Tensor:
    """The penalty of each image, (B,), differentiable with respect to the model's weights.

    ``x`` (B, C, H, W) normalised, un-augmented images; ``w`` (B, H, W), 1 where the model must not look
    (0..1 where experts disagree); ``labels`` (B,) class numbers, for ``ce``; ``direction`` (B, classes) from
    N(0, 1), for ``projection``, which otherwise draws it. An image's value depends
    neither on the others in its batch nor on dropout: the model is in eval mode here, and its modes and
    statistics are left alone. It is computed in float32 or better, whatever autocast is on around it.
    ``fast`` replaces PyTorch's formulas of double backward by cheaper ones, see ``check``.
    Raises NumericalError, naming what is infinite or NaN.
    """
    if form == "as-published":
        return _as_published(model, x, w)
    with in_eval(model), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach().requires_grad_()
        with cheap_second_derivatives() if fast else nullcontext():
            logits = model(x)
        (gradient,) = torch.autograd.grad(_output(logits, output, labels, direction), x, create_graph=True)
        terms = _term(gradient if gradient.dtype == torch.float64 else gradient.float(), w, form)
    _assert_finite(logits, gradient, terms)
    return terms


def _as_published(model: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """The penalty of each image (B,) as the paper's code has it: constants, through which no weight learns.

    Without ``create_graph=True``, the gradient of the summed logits is a number that does not know where it
    came from. Departure: theirs is in train mode, where masked images move BatchNorm's statistics.
    """
    with in_eval(model), torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x, retain_graph=True)
    return (w[:, None] * gradient).square().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class Check:
    """What a run found out at its first masked step: the penalty's gradient over all weights.

    ``norm`` is that of the exact gradient; ``cosine`` is between it and the fast route's; ``fast``
    says whether the two agree.
    """

    norm: float
    cosine: float
    fast: bool


def check(model: nn.Module, x: Tensor, w: Tensor, form: Form, output: Output, labels: Tensor | None = None) -> Check:
    """Whether the penalty is alive, and which route to it is right for this network.

    The fast route rewrites some of a network's operations. A network to which that does something
    unforeseen is found here, by comparing with PyTorch's own double backward, and gets that.
    Raises DeadPenaltyError when the penalty does not reach any weight.
    """

    def gradient(fast: bool) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the same projection on both routes
            terms = penalty(model, x, w, form, output, labels, fast).sum()
        return _living_gradient(model, terms)

    exact = gradient(fast=False)
    norm = float(exact.norm())
    try:
        quick = gradient(fast=True)
        cosine = float((quick / quick.norm().clamp(min=torch.finfo(quick.dtype).tiny)) @ (exact / norm))
        return Check(norm, cosine, float((quick - exact).norm()) <= AGREE * norm)
    except (PipelineError, RuntimeError):  # whatever the fast route stumbles over, the exact one does not
        return Check(norm, float("nan"), fast=False)


def assert_alive(model: nn.Module, loss: Tensor) -> float:
    """The norm of the penalty's gradient over all weights; raises DeadPenaltyError when it is zero.

    ``loss`` is the sum of some images' penalties; its graph is kept for the caller's backward pass.
    """
    return float(_living_gradient(model, loss).norm())


@contextmanager
def in_eval(model: nn.Module, kind: type[nn.Module] = nn.Module) -> Iterator[None]:
    """Modules of this kind are in eval mode inside; modes are restored afterwards."""
    training = [module for module in model.modules() if isinstance(module, kind) and module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _living_gradient(model: nn.Module, loss: Tensor) -> Tensor:
    """The gradient over all weights, in a row; DeadPenaltyError where it is zero."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not loss.requires_grad:
        raise DeadPenaltyError("the penalty has no graph: it was computed without create_graph=True")
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    found = torch.cat([torch.zeros(0), *(g.detach().double().flatten().cpu() for g in gradients)])
    if not found.any():
        raise DeadPenaltyError(
            "the penalty's gradient is zero for every weight, so the experts' masks would change nothing; "
            "check that the masks are not empty and that the network is not constant"
        )
    return found


def _output(logits: Tensor, output: Output, labels: Tensor | None, direction: Tensor | None) -> Tensor:
    if output == "ce":
        if labels is None:
            raise ValueError("the output 'ce' needs labels")
        return F.cross_entropy(logits, labels, reduction="sum")
    outputs: dict[Output, Callable[[Tensor], Tensor]] = {
        "logits": lambda z: z.sum(),
        "log-probs": lambda z: torch.log_softmax(z, dim=1).sum(),
        "predicted": lambda z: z.amax(dim=1).sum(),
        "projection": lambda z: (z * _centred(torch.randn_like(z) if direction is None else direction.to(z))).sum(),
    }
    return outputs[output](logits)


def _term(gradient: Tensor, w: Tensor, form: Form) -> Tensor:
    if form == "cosine":
        return F.cosine_similarity(gradient.sum(dim=1).abs().flatten(1), w.to(gradient).flatten(1))
    energy = gradient.square().sum(dim=1)  # (B, H, W)
    masked = (w * energy).sum(dim=(1, 2))
    if form == "eq2":
        return masked
    if form == "eq2-mean":
        return masked / gradient[0].numel()
    return masked / energy.sum(dim=(1, 2)).clamp(min=torch.finfo(energy.dtype).tiny)


def _assert_finite(logits: Tensor, gradient: Tensor, terms: Tensor) -> None:
    if torch.isfinite(terms).all():
        return
    precision = str(gradient.dtype).removeprefix("torch.")
    for name, found in (("logits are", logits), ("input gradient is", gradient), ("squared input gradient is", terms)):
        bad = ~torch.isfinite(found.detach()).flatten(1).all(dim=1) if found.ndim > 1 else ~torch.isfinite(found)
        if bad.any():
            narrow = "; a network in half precision overflows early: keep its weights in float32"
            raise NumericalError(
                f"the network's {name} infinite or NaN for {int(bad.sum())} of {len(bad)} masked images, in {precision}"
                + (narrow if gradient.dtype in (torch.float16, torch.bfloat16) else "; lower the penalty's weight")
            )


def _centred(v: Tensor) -> Tensor:
    return v - v.mean(dim=1, keepdim=True)
