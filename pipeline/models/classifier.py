"""The classifier: a timm network with its own preprocessing and a head for the data set's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.choices import Layers
from pipeline.errors import naming_damage
from pipeline.models import backbones, files

HEAD_STD = 0.01  # timm draws the head from U(+-1/sqrt(classes)): with few classes the first loss is huge


class Classifier(nn.Module):
    """A timm network with its preprocessing: normalised (B, 3, S, S) float in, (B, C) logits out.

    A stored state needs ``architecture`` and ``classes`` to rebuild the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, classes: list[str]) -> None:
        super().__init__()
        self.architecture, self.classes = architecture, classes
        self.layers: Layers = "all"
        self.network = backbones.create(architecture, len(classes))
        config = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of a batch from ``normalise``."""
        return self.network(x)

    def learn(self, layers: Layers) -> None:
        """Let all layers learn, or the head alone; the other layers then keep their weights and statistics."""
        self.layers = layers
        self.requires_grad_(layers == "all")
        if layers == "head":
            self.network.get_classifier().requires_grad_(True)

    def train(self, mode: bool = True) -> Classifier:
        """Switch between training and evaluation; layers that do not learn stay in evaluation."""
        super().train(mode and self.layers == "all")
        self.training = mode
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, S, S) floats in 0..1 with the backbone's own mean and standard deviation."""
        return (images - self.mean) / self.std


class Deployed(nn.Module):
    """The served network: uint8 RGB images (B, S, S, 3) in, class probabilities (B, C) out."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the probabilities of the classes, in the order of ``model.classes``."""
        images = pictures.permute(0, 3, 1, 2).float() / 255
        return torch.softmax(self.model(self.model.normalise(images)), dim=1)


def build(stored: dict[str, Any], classes: list[str]) -> Classifier:
    """Return a classifier from ``backbones.pretrained`` weights or from a training state.

    A training state with the same classes keeps its head. Otherwise the head is drawn from N(0, HEAD_STD²), so that the
    first loss is near log(classes).
    """
    model = Classifier(stored["architecture"], classes)
    weights = dict(stored["weights"])
    if stored.get("classes") != classes:
        head = model.network.get_classifier()
        nn.init.normal_(head.weight, std=HEAD_STD)
        nn.init.zeros_(head.bias)
        prefix = model.network.pretrained_cfg["classifier"] + "."
        weights |= {key: own for key, own in model.network.state_dict().items() if key.startswith(prefix)}
    model.network.load_state_dict(weights)
    # Depthwise convolutions run twice as fast on a CPU in this layout.
    return model.to(memory_format=torch.channels_last)


def initial(init: str, classes: list[str]) -> Classifier:
    """Return the network that a scenario starts from; ``init`` is the path of its weights."""
    stored = files.read(Path(init))
    with naming_damage(Path(init)):
        return build(stored, classes)
