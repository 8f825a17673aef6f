"""DeepLIFT-Rescale attributions: how much each pixel moved the output away from a reference.

Shrikumar, Greenside and Kundaje 2017, *Learning Important Features Through Propagating
Activation Differences*, https://arxiv.org/abs/1704.02685: linear rule (their eq. 6) and rescale
rule (eq. 12). What they leave open is settled so that completeness,
sum of attributions = f(x) - f(x0), holds:

- every element-wise activation follows the rescale rule, SiLU and ReLU6 included;
- a product of two activations (squeeze-excite) gives each factor the mean of the other's two
  values as its multiplier: a b - a0 b0 = (a - a0)(b + b0)/2 + (b - b0)(a + a0)/2;
- normalisation layers are linear, since the network is explained in eval mode.

One forward and one backward pass over [x; x0]; the backward pass carries multipliers in place
of gradients. The caller's model is copied, never touched.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as vision

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.ELU, nn.LeakyReLU)
NEAR = 1e-6  # where input and reference are this close, the rule's limit, the derivative, is used


def deeplift(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """DeepLIFT-Rescale of the target logits.

    ``x`` and ``reference`` (B, 3, H, W), ``target`` (B,) class numbers. Returns the signed
    saliency (B, H, W), summed over channels, and the completeness error (B,):
    |sum of attributions - (f(x) - f(x0))| / max(|f(x) - f(x0)|, 0.1 logits).
    """
    network = _with_rules(model)
    both = torch.cat([x, reference]).detach().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    with torch.enable_grad():
        logits = network(both)
        (multipliers,) = torch.autograd.grad(logits[rows, target].sum(), both)
    saliency = (multipliers[: len(x)] * (x - reference)).sum(dim=1)
    difference = logits[rows, target] - logits[rows + len(x), target]
    error = (saliency.sum(dim=(1, 2)) - difference).abs() / difference.abs().clamp(min=0.1)
    return saliency.detach(), error.detach()


def blurred(images: Tensor) -> Tensor:
    """The reference for (B, 3, S, S) images: a copy blurred until no region stands out.

    Gaussian with sigma = S / 10 pixels, cut off at two sigma.
    """
    sigma = images.shape[-1] / 10
    kernel = 2 * round(2 * sigma) + 1
    return vision.gaussian_blur(images, [kernel, kernel], [sigma, sigma])


class _Rescale(torch.autograd.Function):
    """y = f(z) over [z; z0]; backwards, the first half's gradient is multiplied by (y - y0)/(z - z0)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, activation: nn.Module) -> Tensor:
        with torch.enable_grad():
            z_leaf = z.detach().requires_grad_()
            y = activation(z_leaf)
            (slope,) = torch.autograd.grad(y.sum(), z_leaf)
        (z1, z0), (y1, y0) = z.chunk(2), y.detach().chunk(2)
        near = (z1 - z0).abs() < NEAR
        ctx.save_for_backward(torch.where(near, slope.chunk(2)[0], (y1 - y0) / torch.where(near, 1.0, z1 - z0)))
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (multiplier,) = ctx.saved_tensors
        first = gradients[0].chunk(2)[0] * multiplier
        return torch.cat([first, torch.zeros_like(first)]), None


class _Product(torch.autograd.Function):
    """a b over [a; a0] and [b; b0]; backwards, each factor's multiplier is the other's mean value."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        (a1, a0), (b1, b0) = a.chunk(2), b.chunk(2)
        ctx.save_for_backward((a1 + a0) / 2, (b1 + b0) / 2)
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        a_mean, b_mean = ctx.saved_tensors
        first = gradients[0].chunk(2)[0]
        zero = torch.zeros_like(first)
        return torch.cat([first * b_mean, zero]), torch.cat([first * a_mean, zero])


class _RescaleRule(nn.Module):
    def __init__(self, activation: Any) -> None:
        super().__init__()
        if hasattr(activation, "inplace"):
            activation.inplace = False
        self.activation: nn.Module = activation

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = _Rescale.apply(z, self.activation)
        return y


class _ProductRule(nn.Module):
    """timm's squeeze-excite with the product rule where it multiplies."""

    def __init__(self, excite: Any) -> None:
        super().__init__()
        self.excite: Any = excite

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.excite.conv_reduce(x.mean((2, 3), keepdim=True))
        gate = self.excite.gate(self.excite.conv_expand(self.excite.act1(squeezed)))
        y: Tensor = _Product.apply(x, gate.expand_as(x))
        return y


def _with_rules(model: nn.Module) -> nn.Module:
    network = copy.deepcopy(model).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    _replace(network)
    return network


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ACTIVATIONS):
            setattr(module, name, _RescaleRule(child))
            continue
        _replace(child)
        if isinstance(child, SqueezeExcite):
            setattr(module, name, _ProductRule(child))
