"""The method on sixty networks: a masked step against PyTorch's exact gradient, and DeepLIFT's completeness.

Weights are random and stirred, so that no norm is the identity and every block acts. Each network takes small images,
or the only side that it can take. ``python -m benchmarks.networks`` prints the table of docs/networks.md.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from functools import cache

import torch
from rich.progress import track
from torch import nn

from benchmarks.measure import Figure, Figures
from pipeline.errors import PipelineError
from pipeline.feedback.check import check
from pipeline.models import backbones
from pipeline.models.classifier import Classifier
from pipeline.query.deeplift import deeplift
from pipeline.query.references import blurred

SIDE = 64  # pixels
PRECISE, COMPLETE = 0.999, 0.01  # cosine of the gradient; completeness error

CONVOLUTIONAL = (
    "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 tf_efficientnet_lite0 "
    "tf_efficientnetv2_s resnet18 resnet50 resnext50_32x4d seresnet50 resnetv2_50 convnext_atto convnextv2_atto "
    "convnext_tiny mobilenetv2_100 densenet121 inception_v3 regnetx_002 regnety_002 vgg11_bn vgg11 ghostnet_100 "
    "mnasnet_100 rexnet_100 dla34 hrnet_w18_small repvgg_a0 mixnet_s cspresnet50 nfnet_f0 dm_nfnet_f0 lambda_resnet26t "
    "res2net50_26w_4s skresnet18 edgenext_xx_small hardcorenas_a"
)
OTHERS = (  # of lines 1, 9 and 10: hardsigmoid, attention, tokens, group norm, two heads, fixed sides
    "mobilenetv3_small_100 mobilenetv3_large_100 lcnet_050 resnet50_gn test_efficientnet_gn bat_resnext26ts "
    "vit_tiny_patch16_224 test_vit deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 beit_base_patch16_224 "
    "swin_s3_tiny_224 swin_tiny_patch4_window7_224 levit_128s mixer_s32_224 gmlp_s16_224 xcit_nano_12_p16_224 "
    "cait_xxs24_224 pit_ti_224 convit_tiny coat_tiny efficientformer_l1 poolformer_s12"
)
NAMES = (*CONVOLUTIONAL.split(), *OTHERS.split())


@dataclass(frozen=True)
class Row:
    """A network's results; NaN where it was refused, with the reason."""

    name: str
    side: int
    cosine: float = float("nan")
    error: float = float("nan")
    refused: str = ""


def measured(name: str) -> Row:
    """Return the results of one network on two images."""
    torch.manual_seed(0)
    side = SIDE
    try:
        model = Classifier(name, ["a", "b", "c"])
        config = model.network.pretrained_cfg
        if config.get("fixed_input_size") and not hasattr(model.network, "set_input_size"):
            side = config["input_size"][-1]
        model.resize(side)
        network = stirred(model)
        x = torch.rand(2, 3, side, side)
        w = torch.zeros(2, side, side)
        w[:, : side // 2] = 1
        with torch.no_grad():
            for module in network.modules():  # the statistics of such images, as after training
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum = 1.0
            network.train()(torch.cat([x, blurred(x)]))
        found = check(network.eval(), x, w, form="eq2", output="projection")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = float(deeplift(network, x, blurred(x), torch.tensor([0, 1]))[1].max())
        return Row(name, side, found.cosine if found.fast else 1.0, error)  # else, a run takes the exact route
    except (PipelineError, RuntimeError, AssertionError) as error:
        kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
        return Row(name, side, refused=kind + str(error).split(". Fix:")[0])


def stirred(network: nn.Module) -> nn.Module:
    """Return a network in which no norm is the identity, no block is switched off, and the logits differ."""
    for key, parameter in network.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_(std=0.3)
        elif "gamma" in key or key.endswith(("skipinit_gain", "bn3.weight", "bn2.weight")):
            parameter.data.fill_(1.0)
    assert isinstance(network, Classifier)
    for layer in backbones.output_layers(network.network):
        nn.init.normal_(layer.weight)
    return network


@cache
def rows(names: tuple[str, ...] = NAMES) -> list[Row]:
    """Return the results of all networks."""
    return [measured(name) for name in track(names, "networks", transient=True, disable=not sys.stdout.isatty())]


def networks_penalised(names: tuple[str, ...] = NAMES) -> Figure:
    """Share of the networks with a masked step whose gradient has a cosine of 0.999 to the exact gradient, or more."""
    return _share([row.cosine >= PRECISE for row in rows(names)])


def networks_complete(names: tuple[str, ...] = NAMES) -> Figure:
    """Share of the networks whose attributions miss at most 1% of the output's difference."""
    return _share([row.error <= COMPLETE for row in rows(names)])


def _share(found: list[bool]) -> Figure:
    share = sum(found) / len(found)
    return Figure(share, share, share)


FIGURES: Figures = {"networks_penalised": networks_penalised, "networks_complete": networks_complete}


if __name__ == "__main__":
    print("| network | side | cosine | completeness error | refused |\n|---|---:|---:|---:|---|")
    for name in sys.argv[1:] or NAMES:
        row = measured(name)
        numbers = "| | |" if row.refused else f"| {row.cosine:.4f} | {row.error:.1e} |"
        print(f"| `{row.name}` | {row.side} {numbers} {row.refused} |", flush=True)
