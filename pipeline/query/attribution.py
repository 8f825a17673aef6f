"""Attributions: how much each pixel of an image contributes to an output of a classifier (paper, section 3.1).

All explainers take any ``nn.Module`` that maps (B, C, H, W) to logits (B, classes). They explain it in eval mode, and
leave its modes, parameters and hooks as they were. The paper uses DeepLIFT; captum's explainers are for comparison.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.choices import Method
from pipeline.models.modes import frozen
from pipeline.query.deeplift import deeplift

STEPS = 50  # of integrated gradients
AT_ONCE = 32  # images in a batch of integrated gradients, which evaluates STEPS per image


class Explainer(Protocol):
    """A function from a network in eval mode, images, their reference and class numbers to saliency."""

    def __call__(self, model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
        """Return the saliency (B, H, W) of images (B, C, H, W) for the classes (B,)."""
        ...


def attribute(
    model: nn.Module,
    x: Tensor,
    reference: Tensor,
    *,
    target: Tensor | int | None = None,
    method: Method = "deeplift",
) -> Tensor:
    """Return the signed saliency of images; evidence for the target class is positive.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images (B, C, H, W).
        reference: The images to compare with, of the same shape.
        target: Class numbers (B,), one number for all images, or None for the predicted classes.
        method: A key of ``EXPLAINERS``.

    Returns:
        Saliency (B, H, W), summed over channels.

    Raises:
        ValueError: The method is unknown, or Grad-CAM finds no layer with a spatial output.
    """
    if method not in EXPLAINERS:
        raise ValueError(f"unknown explainer {method!r}. Fix: choose one of {', '.join(EXPLAINERS)}")
    with frozen(model):
        if target is None:
            with torch.no_grad():
                target = model(x).argmax(dim=1)
        targets = torch.as_tensor(target, device=x.device).expand(len(x))
        with torch.enable_grad():
            return EXPLAINERS[method](model, x, reference, targets).detach()


def _deeplift(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    return deeplift(model, x, reference, target)[0]


def _integrated_gradients(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return integrated gradients from the reference, in 50 steps.

    Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365.
    """
    from captum.attr import IntegratedGradients

    batch = max(AT_ONCE, len(x))
    found = IntegratedGradients(model).attribute(_leaf(x), reference, target, n_steps=STEPS, internal_batch_size=batch)
    return _over_channels(found)


def _input_x_gradient(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return the input times its gradient; the reference plays no part."""
    from captum.attr import InputXGradient

    return _over_channels(InputXGradient(model).attribute(_leaf(x), target))


def _grad_cam(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Return Grad-CAM of the last layer with a spatial output, enlarged bilinearly.

    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391. Departure: no final ReLU, so that evidence against the
    class stays negative. The reference plays no part.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    coarse = LayerGradCam(model, _last_spatial(model, x)).attribute(_leaf(x), target)
    return _over_channels(LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear"))


EXPLAINERS: dict[Method, Explainer] = {
    "deeplift": _deeplift,
    "integrated-gradients": _integrated_gradients,
    "input-x-gradient": _input_x_gradient,
    "grad-cam": _grad_cam,
}


def _leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def _over_channels(attributions: Any) -> Tensor:
    total: Tensor = attributions.sum(dim=1)
    return total


def _last_spatial(model: nn.Module, x: Tensor) -> nn.Module:
    """Return the last of the network's modules with an output (B, channels, h > 1, w > 1)."""
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
            f"Grad-CAM needs a layer that returns (B, channels, height, width), but {type(model).__name__} has none "
            f"with more than one place at {x.shape[2]} x {x.shape[3]} pixels. Fix: use larger images or another "
            "explainer"
        )
    return found[-1]
