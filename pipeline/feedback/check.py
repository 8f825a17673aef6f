"""Proof, at a run's first masked step, that the penalty reaches the weights, and by which route it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.choices import Form, Output
from pipeline.errors import PipelineError
from pipeline.feedback.penalty import masks_of, penalty
from pipeline.models import outputs
from pipeline.models.modes import in_eval

AGREE = 0.04  # share of its norm by which the fast gradient may differ: rounding moves units across kinks
NOISE = 30  # rounding errors of the network's precision, relative to what would be no noise


class DeadPenaltyError(PipelineError):
    """The penalty does not reach the weights, so training would ignore the experts' masks."""


@dataclass(frozen=True)
class Check:
    """The penalty's gradient over all weights, computed by both routes.

    ``norm`` is the norm of the exact gradient; ``cosine`` is the cosine between both routes' gradients, NaN where the
    fast route fails; ``fast`` is True where both agree.
    """

    norm: float
    cosine: float
    fast: bool


@torch.inference_mode(False)
def check(
    model: nn.Module,
    x: Tensor,
    w: Tensor,
    *,
    form: Form,
    output: Output,
    labels: Tensor | None = None,
    finding: Tensor | None = None,
) -> Check:
    """Check that the penalty is alive, and find out which route is right for this network.

    The fast route rewrites some of a network's operations (see ``double_backward``). A network may rely on a detail
    that the rewriting changes; the comparison with PyTorch's own double backward detects this.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images without augmentation, (B, C, H, W).
        w: Masks (B, H, W), 1 where the model must not look.
        form: The form of the penalty.
        output: The scalar whose gradient is taken.
        labels: Class numbers (B,), or 0 and 1 for each finding (B, k), for the output ``ce``.
        finding: The number of the finding (B,) that each mask belongs to; None for classes.

    Returns:
        Norm, agreement and the route to use, as ``penalty(..., fast=check.fast)``.

    Raises:
        DeadPenaltyError: The penalty reaches no weight.
        NetworkError: The network cannot be differentiated twice.
    """

    outputs.assert_inputs(model, x)
    w = masks_of(w, x)

    def penalties(form: Form, output: Output, w: Tensor, fast: bool) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the same projection on both routes
            return penalty(model, x, w, form=form, output=output, labels=labels, finding=finding, fast=fast)

    def size(output: Output) -> Tensor:
        """Return the length of each image's gradient."""
        return penalties("eq2", output, torch.ones_like(w), False).detach().sqrt()

    def gradient(fast: bool) -> Tensor:
        return _living_gradient(model, penalties(form, output, w, fast).sum())

    # The gradients of several logits may cancel. The cross-entropy's gradient is small where the network is certain.
    if output != "ce" and finding is None and _classes(model, x) > 1:
        others = torch.maximum(size("logits"), size("projection"))
        if (size(output) <= NOISE * torch.finfo(x.dtype).eps * others).all():
            raise DeadPenaltyError(
                f"the output {output!r} of {type(model).__name__} is constant, and its gradient is rounding noise: "
                "a sum of probabilities is 1. Fix: remove a final softmax, or choose another `penalty.output`"
            )
    exact = gradient(fast=False)
    norm = float(exact.norm())
    try:
        quick = gradient(fast=True)
        cosine = float((quick / quick.norm().clamp(min=torch.finfo(quick.dtype).tiny)) @ (exact / norm))
        return Check(norm, cosine, float((quick - exact).norm()) <= AGREE * norm)
    except (PipelineError, RuntimeError):  # any failure of the fast route: the exact route is used
        return Check(norm, float("nan"), fast=False)


def _classes(model: nn.Module, x: Tensor) -> int:
    with outputs.differentiating(model), in_eval(model), torch.no_grad():
        return outputs.logits(model, x).shape[1]


def assert_alive(model: nn.Module, loss: Tensor) -> float:
    """Return the norm of the penalty's gradient over all weights; raise DeadPenaltyError where it is zero or noise.

    ``loss`` is the sum of some images' penalties; its graph is kept for the caller's backward pass.
    """
    return float(_living_gradient(model, loss).norm())


def _living_gradient(model: nn.Module, loss: Tensor) -> Tensor:
    """Return the gradient over all weights as one vector; raise DeadPenaltyError where it is zero or noise."""
    parameters = outputs.learning(model)
    if not loss.requires_grad:
        raise DeadPenaltyError("the penalty has no graph. Fix: compute its gradient with `create_graph=True`")
    with outputs.differentiating(model):
        _assert_twice_differentiable(loss)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    together = torch.cat([g.detach().double().flatten().cpu() for g in gradients])
    scale = float(torch.stack([parameter.detach().double().norm().cpu() for parameter in parameters]).norm())
    if float(together.norm()) * scale <= NOISE * torch.finfo(loss.dtype).eps * abs(float(loss.detach())):
        raise DeadPenaltyError(
            "the penalty's gradient is zero or rounding noise for every weight, so the experts' masks would change "
            "nothing. Fix: check that the masks are not empty and that the network is not constant"
        )
    return together


def _assert_twice_differentiable(loss: Tensor) -> None:
    """Raise RuntimeError if an operation of the graph has one derivative only.

    PyTorch raises in a backward pass over the whole graph, but skips such an operation where it is asked for the
    gradient over some weights.
    """
    seen: set[Any] = set()
    todo = [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if node.name() == "torch::autograd::Error":
                raise RuntimeError("once_differentiable")
            todo.extend(following for following, _ in node.next_functions)
