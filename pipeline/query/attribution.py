"""Attributions: how much each pixel of an image contributes to an output of a classifier (paper, section 3.1).

All explainers take any ``nn.Module`` that maps (B, C, H, W) to logits (B, classes). They explain it in eval mode, and
leave its modes, parameters and hooks as they were. The paper uses DeepLIFT; captum's explainers are for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pipeline.choices import Method, assert_known
from pipeline.errors import NetworkError, NumericalError
from pipeline.models import outputs
from pipeline.models.modes import frozen
from pipeline.query.deeplift import IncompleteError, deeplift
from pipeline.query.grad_cam import grad_cam

STEPS = 50  # of integrated gradients
AT_ONCE = 32  # images in a batch of integrated gradients, which evaluates STEPS per image


class Explainer(Protocol):
    """A function from a network in eval mode, images, their reference and class numbers to saliency."""

    def __call__(self, model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
        """Return the saliency (B, H, W) of images (B, C, H, W) for the classes (B,)."""
        ...


@torch.inference_mode(False)  # records gradients in any context of the caller
def attribute(
    model: nn.Module,
    x: Tensor,
    reference: Tensor,
    *,
    target: Tensor | int | None = None,
    method: Method = "deeplift",
    limit: float | None = None,
) -> Tensor:
    """Return the signed saliency of images; evidence for the target class is positive.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
        target: Class numbers (B,), one number for all images, or None for the predicted classes.
        method: A key of ``EXPLAINERS``.
        limit: DeepLIFT's largest completeness error, see ``deeplift``; None accepts any error.

    Returns:
        Saliency (B, H, W), summed over channels.

    Raises:
        ValueError: The method is unknown, shapes or classes do not fit, or Grad-CAM finds no layer of a known layout.
        NetworkError: The network returns no logits, or the method cannot explain it.
        IncompleteError: DeepLIFT's error exceeds the limit. The message names the modules, and other explainers.
        NumericalError: The saliency is infinite or NaN.
    """
    assert_known(method, Method, "explainer")
    outputs.assert_inputs(model, x)
    if reference.shape != x.shape or reference.dtype != x.dtype:
        raise ValueError(
            f"the reference is {outputs.words(reference)}, but the images are {outputs.words(x)}. "
            "Fix: give each image a reference of its own shape and type"
        )
    with outputs.differentiating(model), frozen(model):
        if target is None:
            with torch.no_grad():
                target = outputs.logits(model, x).argmax(dim=1)
        targets = torch.as_tensor(target, device=x.device)
        if targets.shape not in ((), (len(x),)):
            raise ValueError(
                f"the target is {tuple(targets.shape)} for {len(x)} images. Fix: give one class, or one for each image"
            )
        explained = model, x.clone(), reference.clone(), targets.expand(len(x))
        try:
            saliency = _deeplift(*explained, limit) if method == "deeplift" else EXPLAINERS[method](*explained)
        except IncompleteError as error:
            raise IncompleteError(
                f"{error}. Experts cannot judge such an explanation. Fix: set `query.explain.method` to "
                f"{' or '.join(_possible(*explained))}, or raise `query.explain.limit` (it is {limit})"
            ) from None
        saliency = saliency.detach()
    if not torch.isfinite(saliency).all():
        raise NumericalError(
            f"the saliency of {type(model).__name__} is infinite or NaN, so it shows nothing. "
            "Fix: check that its weights and images are finite, or choose another reference"
        )
    return saliency


def _deeplift(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor, limit: float | None = None) -> Tensor:
    return deeplift(model, x, reference, target, limit=limit)[0]


def _integrated_gradients(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return integrated gradients from the reference, in 50 steps.

    Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365.
    """
    from captum.attr import IntegratedGradients

    batch = max(AT_ONCE, len(x))
    network = _checked(model, target)
    found = IntegratedGradients(network).attribute(
        _leaf(x), reference, target, n_steps=STEPS, internal_batch_size=batch
    )
    return _over_channels(found)


def _input_x_gradient(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return the input times its gradient; the reference plays no part."""
    from captum.attr import InputXGradient

    return _over_channels(InputXGradient(_checked(model, target)).attribute(_leaf(x), target))


def _grad_cam(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return Grad-CAM of the last layer with several places, enlarged bilinearly; the reference plays no part."""
    return interpolate(grad_cam(model, x, target)[:, None], x.shape[2:], mode="bilinear")[:, 0]


EXPLAINERS: dict[Method, Explainer] = {
    "deeplift": _deeplift,
    "integrated-gradients": _integrated_gradients,
    "input-x-gradient": _input_x_gradient,
    "grad-cam": _grad_cam,
}


def _checked(model: nn.Module, target: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the network as a function that checks its logits, and that the classes are among them."""

    def network(images: Tensor) -> Tensor:
        logits = outputs.logits(model, images)
        outputs.assert_classes(target, logits.shape[1], "target")
        return logits

    return network


def _possible(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> list[str]:
    """Return the explainers other than DeepLIFT that explain an image with this network."""
    found = []
    for name, explainer in EXPLAINERS.items():
        if name != "deeplift":
            try:
                explainer(model, x[:1], reference[:1], target[:1])
                found.append(f"`{name}`")
            except (ValueError, RuntimeError, NetworkError):
                continue
    return found


def _leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def _over_channels(attributions: Any) -> Tensor:
    total: Tensor = attributions.sum(dim=1)
    return total
