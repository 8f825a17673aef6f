"""The penalty on a late layer: the share of the Grad-CAM map that lies in the marked area (`penalty.form: late`).

a = sum_k alpha_k A_k over the channels A_k of the last layer with a spatial output, where alpha_k is the mean of
d y / d A_k over all places (Grad-CAM). The penalty is sum W a² / sum a², 0..1, with W averaged over the places of the
layer. It has no second derivatives below that layer, so it costs little more than a plain step on the same images.

After Schramowski et al. 2020, *Making deep neural networks right for the right scientific reasons by interacting with
their explanations*, https://arxiv.org/abs/2001.05371, who penalise the normalised Grad-CAM map inside W. Departures:
the map is normalised by its energy, and not by its largest value; and it has no final ReLU, so evidence against a class
counts as well. A late layer sees more than its own place, so the penalty is coarser than the penalty on pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import NetworkError, NumericalError
from pipeline.models import outputs
from pipeline.models.modes import in_eval


def late(model: nn.Module, x: Tensor, w: Tensor, scalar: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the penalty of each image, differentiable with respect to the model's weights.

    Args:
        model: A network with a layer that returns (B, channels, h, w).
        x: Normalised images (B, C, H, W).
        w: Masks (B, H, W), 0..1.
        scalar: Returns the output that is explained, summed over the batch, for logits (B, classes).

    Returns:
        Penalties (B,), 0..1.

    Raises:
        NetworkError: No layer has a spatial output.
        NumericalError: The penalty is infinite or NaN.
    """
    with in_eval(model), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        with _spatial_outputs(model) as found:
            y = scalar(outputs.logits(model, x.detach().requires_grad_()))
        if not found:
            raise _no_layer(model)
        (gradient,) = torch.autograd.grad(y, found[-1], create_graph=True)
        energy = (gradient.mean(dim=(2, 3), keepdim=True) * found[-1]).sum(dim=1).square()
        inside = F.interpolate(w[:, None].to(energy), size=energy.shape[1:], mode="area")[:, 0]
        total = energy.sum(dim=(1, 2)).clamp(min=torch.finfo(energy.dtype).tiny)
        penalties = (inside * energy).sum(dim=(1, 2)) / total
    if not torch.isfinite(penalties).all():
        raise NumericalError(f"the Grad-CAM map of {type(model).__name__} is infinite or NaN. Fix: lower the weight")
    return penalties


def _no_layer(model: nn.Module) -> NetworkError:
    return NetworkError(
        f"`penalty.form: late` needs a layer that returns (B, channels, height, width), and {type(model).__name__} has "
        "none. Fix: choose another form in params.yaml"
    )


@contextmanager
def _spatial_outputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs (B, channels, h > 1, w > 1) of the network's modules, in the order in which they are made."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            found.append(output)

    handles = [module.register_forward_hook(keep) for module in model.modules() if module is not model]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
