"""The classifier: a timm network with its own preprocessing and a head for the data set's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.choices import Layers, assert_known
from pipeline.errors import ConfigError, naming_damage
from pipeline.models import backbones, files, tasks
from pipeline.models.tasks import Task

HEAD_STD = 0.01  # timm draws the head from U(+-1/sqrt(classes)): with few classes the first loss is huge


class Classifier(nn.Module):
    """A timm network with its preprocessing: normalised (B, 3, S, S) float in, (B, C) logits out.

    A stored state needs ``architecture``, ``classes``, ``findings`` and ``size`` to rebuild the network.

    Attributes:
        architecture: Its name in timm.
        classes: The classes' names, in the order of the logits.
        findings: Whether they are findings, each of which is there or not.
        size: The side of its images, pixels, if the weights were fitted to another side than timm's; else None.
        layers: The layers that learn.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, classes: list[str], *, findings: bool = False) -> None:
        super().__init__()
        self.architecture, self.classes, self.findings = architecture, classes, findings
        self.size: int | None = None
        self.layers: Layers = "all"
        self.network = backbones.create(architecture, len(classes))
        config = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)

    @property
    def task(self) -> Task:
        """The meaning of the logits."""
        return tasks.FINDINGS if self.findings else tasks.CLASSES

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of a batch from ``normalise``."""
        return self.network(x)

    def learn(self, layers: Layers) -> None:
        """Let all layers learn, or the head alone; the other layers then keep their weights and statistics.

        Raises ValueError if the word is unknown.
        """
        assert_known(layers, Layers, "layers")
        self.layers = layers
        self.requires_grad_(layers == "all")
        if layers == "head":
            for head in backbones.heads(self.network):
                head.requires_grad_(True)

    def resize(self, size: int) -> None:
        """Fit position embeddings and windows to images of another side, in pixels.

        Raises ConfigError if the network takes images of one side only.
        """
        config = self.network.pretrained_cfg
        own = self.size or config["input_size"][-1]
        if not config.get("fixed_input_size") or size == own:
            return  # it takes images of any side
        try:
            self.network.set_input_size(img_size=(size, size))
        except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{self.architecture} takes images of {own} pixels, and cannot be fitted to {size} "
                f"({type(error).__name__}). Fix: set the data set's `size` to {own}, or choose another backbone"
            ) from error
        self.size = size

    def train(self, mode: bool = True) -> Classifier:
        """Switch between training and evaluation; layers that do not learn stay in evaluation."""
        super().train(mode and self.layers == "all")
        self.training = mode
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, S, S) floats in 0..1 with the backbone's own mean and standard deviation."""
        return (images - self.mean) / self.std


class Deployed(nn.Module):
    """The served network: uint8 RGB images (B, S, S, 3) in, probabilities (B, C) of classes or findings out."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the probabilities of the classes or findings, in the order of ``model.classes``."""
        images = pictures.permute(0, 3, 1, 2).float() / 255
        return self.model.task.probabilities(self.model(self.model.normalise(images)))


def build(stored: dict[str, Any], classes: list[str], size: int | None = None, *, findings: bool = False) -> Classifier:
    """Return a classifier from ``backbones.pretrained`` weights or from a training state.

    A training state with the same classes keeps its head. Otherwise the head is drawn from N(0, HEAD_STD²), so that the
    first loss is near log(classes), or near log(2) for findings.

    Args:
        stored: The weights or the state.
        classes: The classes' names.
        size: The side of the images, pixels; None keeps the side of the stored weights.
        findings: Whether they are findings, each of which is there or not.

    Raises:
        ConfigError: The network takes images of another side only.
    """
    model = Classifier(stored["architecture"], classes, findings=findings)
    if "size" in stored:
        model.resize(stored["size"])
    weights = dict(stored["weights"])
    if stored.get("classes") != classes or bool(stored.get("findings")) != findings:
        names = {module: name for name, module in model.network.named_modules()}
        for layer in backbones.output_layers(model.network):
            nn.init.normal_(layer.weight, std=HEAD_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            weights |= {f"{names[layer]}.{key}": own for key, own in layer.state_dict().items()}
    model.network.load_state_dict(weights)
    if size:
        model.resize(size)
    # Depthwise convolutions run twice as fast on a CPU in this layout.
    return model.to(memory_format=torch.channels_last)


def initial(init: str, classes: list[str], size: int, *, findings: bool = False) -> Classifier:
    """Return the network that a scenario starts from, for images of this side; ``init`` is the path of its weights."""
    stored = files.read(Path(init))
    with naming_damage(Path(init)):
        return build(stored, classes, size, findings=findings)
