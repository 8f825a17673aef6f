"""The method on sixty networks: a masked step against PyTorch's exact gradient, and DeepLIFT's completeness.

Weights are random and stirred, so that no norm is the identity and every block acts. Each network takes images of 64
pixels, or of its own side where it takes no smaller ones.

``python -m benchmarks.networks [NAME …]`` measures the named networks, or all without a result in report/networks.json,
and prints the table of docs/networks.md. The file is written after each network, so an interruption loses one at most.
"""

from __future__ import annotations

import json
import platform
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from benchmarks.measure import Figure, Figures
from pipeline.commands.running import user_errors
from pipeline.errors import PipelineError
from pipeline.feedback.check import check
from pipeline.models import backbones
from pipeline.models.classifier import Classifier
from pipeline.paths import REPORT
from pipeline.query.deeplift import deeplift
from pipeline.query.references import blurred

SIDE = 64  # pixels
FILE = REPORT / "networks.json"  # in Git
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
    """A network's results; None where it was refused, with the reason."""

    name: str
    side: int  # pixels
    cosine: float | None = None
    error: float | None = None
    refused: str = ""

    @property
    def penalised(self) -> bool:
        """True if a masked step has the exact gradient."""
        return self.cosine is not None and self.cosine >= PRECISE

    @property
    def complete(self) -> bool:
        """True if attributions account for the output's difference."""
        return self.error is not None and self.error <= COMPLETE


def measured(name: str) -> Row:
    """Return the results of one network on two images, of 64 pixels or else of the network's own side."""
    row = _measured(name, SIDE)
    own = row.refused and int(backbones.create(name, 3).pretrained_cfg["input_size"][-1])
    return _measured(name, own) if own else row


def _measured(name: str, side: int) -> Row:
    torch.manual_seed(0)
    try:
        model = Classifier(name, ["a", "b", "c"])
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
    return _share([row.penalised for row in rows(names)])


def networks_complete(names: tuple[str, ...] = NAMES) -> Figure:
    """Share of the networks whose attributions miss at most 1% of the output's difference."""
    return _share([row.complete for row in rows(names)])


def _share(found: list[bool]) -> Figure:
    share = sum(found) / len(found)
    return Figure(share, share, share)


FIGURES: Figures = {"networks_penalised": networks_penalised, "networks_complete": networks_complete}


def load(path: Path) -> list[Row]:
    """Return the stored results, none where there is no file."""
    found = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else []
    return [Row(**row) for row in found]


def store(path: Path, results: list[Row]) -> None:
    """Write results in the list's order, with their shares, and with the versions and processor of this machine."""
    results = sorted(results, key=lambda row: NAMES.index(row.name))
    written = {
        "processor": _processor(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "timm")}},
        "measured": len(results),
        "networks_penalised": sum(row.penalised for row in results) / len(results),
        "networks_complete": sum(row.complete for row in results) / len(results),
        "networks": [asdict(row) for row in results],
    }
    path.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def table(results: list[Row]) -> str:
    """Return results as a table in Markdown."""
    lines = ["| network | side | cosine | completeness error | refused |", "|---|---:|---:|---:|---|"]
    for row in results:
        numbers = ["" if row.cosine is None else f"{row.cosine:.4f}", "" if row.error is None else f"{row.error:.1e}"]
        lines.append(f"| `{row.name}` | {row.side} | {numbers[0]} | {numbers[1]} | {row.refused} |")
    return "\n".join(lines) + "\n"


def main(names: list[str], path: Path = FILE) -> None:
    """Measure the named networks, or all without a result, and print all results.

    Raises PipelineError if a name is not in the list.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        raise PipelineError(f"the list has no network {', '.join(unknown)}. Fix: choose from {', '.join(NAMES)}")
    known = {row.name for row in load(path)}
    for name in names or [name for name in NAMES if name not in known]:
        row = measured(name)
        print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
        store(path, [*(other for other in load(path) if other.name != name), row])
    print(table(load(path)), end="")


if __name__ == "__main__":
    with user_errors(again="python -m benchmarks.networks"):
        main(sys.argv[1:])
