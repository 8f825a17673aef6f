"""Grad-CAM of the last layer with several places (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

A map with its channels in the wrong place is noise, so the layout of a layer's output is known or it is not used:

- Convolutions, norms and pools of images return (B, C, h, w). Any other output with four dimensions is read by the
  spatial sizes (h, w) that these layers have: (B, C, h, w), or (B, h, w, C) as in the middle of a ConvNeXt block.
- A network may declare ``output_fmt = "NHWC"``, as timm's Swin does.
- Tokens (B, N, C) belong to the grid of the network's ``patch_embed``, after its ``num_prefix_tokens``, as in timm's
  ViT. The last norm whose patches reach the logits is used: with a class token, patches after it do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from pipeline.models import outputs

IMAGE_LAYERS = (
    *(_ConvNd, _BatchNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    *(nn.AdaptiveMaxPool2d, nn.Upsample, nn.PixelShuffle),
)

ToImage = Callable[[Tensor], Tensor]  # from a layer's output to (B, C, h, w)


def grad_cam(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the coarse signed map (B, h, w) of images for some classes.

    Departure: no final ReLU, so that evidence against the class stays negative.

    Args:
        model: Any network that takes (B, C, H, W) and returns logits (B, classes).
        x: Normalised images (B, C, H, W).
        target: Class numbers (B,).

    Raises:
        NetworkError: The network returns no logits, or has a scripted part.
        ValueError: No layer has more than one place, or the layout of the last such layer is not known.
    """
    record = _Record(model)
    with outputs.differentiating(model):
        handles = [module.register_forward_hook(record.leave) for module in model.modules() if module is not model]
    try:
        logits = outputs.logits(model, x.detach().clone().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    if record.unknown:
        raise ValueError(
            f"Grad-CAM does not know the layout of {record.unknown}, the last layer of {type(model).__name__} with "
            'several places. Fix: choose another explainer, or set `output_fmt = "NHWC"` on a network that has it'
        )
    if not record.layers:
        raise ValueError(
            f"Grad-CAM needs a layer that returns (B, channels, height, width), but {type(model).__name__} has none "
            f"with more than one place at {x.shape[2]} x {x.shape[3]} pixels. Fix: use larger images or another "
            "explainer"
        )
    outputs.assert_classes(target, logits.shape[1], "target")
    chosen = logits[torch.arange(len(x), device=x.device), target].sum()
    layers = [layer for layer, _ in record.layers]
    with outputs.differentiating(model):
        gradients = torch.autograd.grad(chosen, layers, materialize_grads=True)
    pairs = [
        (to_image(gradient), to_image(layer.detach()))
        for gradient, (layer, to_image) in zip(gradients, record.layers, strict=True)
    ]
    gradient, activations = next((pair for pair in reversed(pairs) if pair[0].any()), pairs[-1])
    return (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1)


@dataclass
class _Record:
    """The layers of a forward pass that may carry the map: the last image layer, or all norms of tokens after it."""

    model: nn.Module
    layers: list[tuple[Tensor, ToImage]] = field(default_factory=list)
    unknown: str = ""  # a later layer with several places, of a layout that is not known
    sizes: set[tuple[int, int]] = field(default_factory=set)  # (h, w) of image layers
    of_tokens: bool = False

    def leave(self, module: nn.Module, args: Any, y: Any) -> Tensor | None:
        """Note a module's output; return a copy of an output that is kept, which later modules may overwrite."""
        if not isinstance(y, Tensor) or not y.is_floating_point() or not y.requires_grad:
            return None
        tokens = self._from_tokens(y) if y.ndim == 3 else None
        to_image = tokens if y.ndim == 3 else self._from_image(module, y) if y.ndim == 4 else None
        if to_image is None:
            several = (y.ndim == 3 and min(y.shape[1:]) > 1) or (y.ndim == 4 and min(y.shape[2:]) > 1)
            self.unknown = f"{type(module).__name__} {tuple(y.shape)}" if several else self.unknown
            return None
        self.unknown = ""
        if tokens and not isinstance(module, nn.LayerNorm):
            return None
        if not (tokens and self.of_tokens):
            self.layers.clear()
        self.of_tokens = tokens is not None
        self.layers.append((y, to_image))
        return y.clone()

    def _from_image(self, module: nn.Module, y: Tensor) -> ToImage | None:
        a, b, c = y.shape[1:]
        if isinstance(module, IMAGE_LAYERS):
            self.sizes.add((b, c))
            return _as_it_is if min(b, c) > 1 else None
        first, last = (b, c) in self.sizes, (a, b) in self.sizes
        declared = any(type(found) is str and found == "NHWC" for found in _attributes(self.model, "output_fmt"))
        if min(a, b) > 1 and ((last and not first) or (declared and not first)):
            return _channels_last
        return _as_it_is if first and not last and min(b, c) > 1 else None

    def _from_tokens(self, y: Tensor) -> ToImage | None:
        grids = [getattr(found, "grid_size", None) for found in _attributes(self.model, "patch_embed")]
        prefixes = [found for found in _attributes(self.model, "num_prefix_tokens") if isinstance(found, int)] or [0]
        if not grids or not grids[0] or y.shape[1] != prefixes[0] + grids[0][0] * grids[0][1]:
            return None
        prefix, grid = prefixes[0], grids[0]
        return lambda tokens: tokens[:, prefix:].transpose(1, 2).unflatten(2, grid)


def _as_it_is(y: Tensor) -> Tensor:
    return y


def _channels_last(y: Tensor) -> Tensor:
    return y.permute(0, 3, 1, 2)


def _attributes(model: nn.Module, name: str) -> list[Any]:
    """Return the values of an attribute of the network and its modules, the outermost first."""
    return [getattr(module, name) for module in model.modules() if hasattr(module, name)]
