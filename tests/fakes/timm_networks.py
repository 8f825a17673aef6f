"""timm's networks with random weights, of which an explanation can be wrong."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from pipeline.query.references import blurred


def build(name: str, x: Tensor) -> nn.Module:
    """A random network whose logits change with ``x``; a fresh network is nearly linear and flat."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=5)
    for key, parameter in network.named_parameters():
        if key.endswith("gamma"):  # ConvNeXt's blocks start out as if they were not there
            parameter.data.fill_(1.0)
        elif "convnext" in name and parameter.ndim > 1:
            parameter.data.mul_(5.0)
        elif key.endswith(("bn2.weight", "bn3.weight")):  # and ResNet's
            parameter.data.fill_(1.0)
        elif key.endswith("bias"):
            parameter.data.normal_(std=0.3)
    network.get_classifier().weight.data.normal_()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of these very images, as after training
    with torch.no_grad():
        network.train()(torch.cat([x, blurred(x)]))
    return network.eval()
