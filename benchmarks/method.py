"""What the method costs over training without it, and how exact it is.

On EfficientNet-B0, where nothing else is said, at 224 x 224 pixels in batches of four, as in the paper. Weights are
random: neither time nor exactness depends on what a network has learnt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import Figure, ratio
from pipeline.config import Augment, Penalty, QuerySettings, Train
from pipeline.data.loading import Images
from pipeline.feedback.penalty import check, penalty
from pipeline.feedback.spending import Feedback
from pipeline.models.classifier import Classifier
from pipeline.query.attribution import blurred, deeplift
from pipeline.stages.query_export import choose
from pipeline.training import trainer
from pipeline.training.trainer import State

ARCHITECTURES = (
    *[f"efficientnet_b{n}" for n in range(5)],
    *["tf_efficientnetv2_s", "tf_efficientnet_lite0", "resnet18", "resnet50", "convnext_tiny"],
)
PAPER = Train(
    baseline_epochs=10,
    learning_rate=1e-4,
    batch_size=4,
    batchnorm="moving",
    augment=Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1),
)
EQ2 = Penalty(form="eq2-mean", output="logits", weight=1.0)
SIZE, BATCH = 224, 4


def penalty_step_ratio() -> Figure:
    """A step with the penalty on every image, by the fast route, over a step without it."""
    return _step_ratio("tf_efficientnet_b0", fast=True)


def penalty_step_ratio_relu6() -> Figure:
    """As ``penalty_step_ratio``, on EfficientNet-Lite0, whose functions have no second derivatives."""
    return _step_ratio("tf_efficientnet_lite0", fast=True)


def penalty_step_ratio_exact() -> Figure:
    """As ``penalty_step_ratio``, by PyTorch's own double backward."""
    return _step_ratio("tf_efficientnet_b0", fast=False)


def penalty_cosine() -> Figure:
    """Between the penalty's gradient that a run would use and the exact one; low: the worst architecture."""
    found = []
    for name in track(ARCHITECTURES, "penalty_cosine", transient=True):
        network = _stirred(timm.create_model(name, num_classes=5))
        result = check(network, _noise(2, 64), _corner(2, 64), "eq2", "logits")
        found.append(result.cosine if result.fast else 1.0)  # a run takes the exact route then
    return Figure(min(found), min(found), max(found))


def hitl_epoch_ratio(share: float, count: int = 40) -> Figure:
    """An epoch with this share of the images masked over the same epoch without masks."""
    state, images = begin(), pictures(count)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[: SIZE // 4] = True
    masked: dict[str, NDArray[np.bool_]] = dict.fromkeys(images.ids[: round(share * count)], mask)
    feedback = trainer.feedback_on(state, images, EQ2, masked)

    def epoch(feedback: Feedback | None) -> None:
        trainer.train_epoch(state, images, PAPER, 0, freeze_batchnorm=False, feedback=feedback)

    return ratio(lambda: epoch(feedback), lambda: epoch(None), runs=3)


def deeplift_completeness_worst() -> Figure:
    """What DeepLIFT's attributions miss of the output's difference; high: the worst image and architecture."""
    worst = []
    for name in track(ARCHITECTURES, "deeplift_completeness_worst", transient=True):
        network = _stirred(timm.create_model(name, num_classes=5))
        x = _noise(3, 64)
        worst.append(float(deeplift(network, x, blurred(x), torch.tensor([0, 2, 4]))[1].max()))
    return Figure(max(worst), min(worst), max(worst))


def deeplift_batch_speedup(count: int = 20) -> Figure:
    """Explaining images one by one over explaining them together."""
    network, x = timm.create_model("tf_efficientnet_b0", num_classes=2), _noise(count, SIZE)
    reference, target = blurred(x), torch.zeros(count, dtype=torch.long)

    def explain(at_once: int) -> None:
        for i in range(0, count, at_once):
            some = slice(i, i + at_once)
            deeplift(network, x[some], reference[some], target[some])

    return ratio(lambda: explain(1), lambda: explain(count), runs=3)


def query_export_ratio(pool: int = 200, queries: int = 20) -> Figure:
    """Choosing, explaining and writing the queries of a round over reading the pool once (10% of ISIC2017)."""
    state, images = begin(), pictures(pool)
    settings = QuerySettings(strategy="entropy", cell=28, proposals=10)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        return ratio(
            lambda: choose(state, images, {}, queries, settings, 0, Path(folder)),
            lambda: trainer.logits(state, images.pixels),
            runs=3,
        )


def _step_ratio(architecture: str, fast: bool) -> Figure:
    network: nn.Module = timm.create_model(architecture, num_classes=2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)
    x, labels, w = _noise(BATCH, SIZE), torch.arange(BATCH) % 2, _corner(BATCH, SIZE)

    def step(penalised: Callable[[], Tensor] | None) -> None:
        network.train()
        optimizer.zero_grad()
        cross_entropy(network(x), labels).backward()
        if penalised:
            penalised().sum().backward()
        optimizer.step()

    return ratio(lambda: step(lambda: penalty(network, x, w, "eq2", "logits", fast=fast)), lambda: step(None))


def begin() -> State:
    """A fresh network in training."""
    torch.manual_seed(0)
    model = Classifier("tf_efficientnet_b0", ["a", "b"]).to(memory_format=torch.channels_last)
    return trainer.begin(model, PAPER)


def pictures(count: int) -> Images:
    """Noise, in two classes."""
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Images([f"image-{i}" for i in range(count)], pixels, torch.arange(count) % 2)


def _stirred(network: nn.Module) -> nn.Module:
    """BatchNorm as after some training: fresh, it hardly does anything, which would be too easy."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(std=0.3)
    return network.to(memory_format=torch.channels_last)


def _noise(count: int, size: int) -> Tensor:
    x = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last)


def _corner(count: int, size: int) -> Tensor:
    w = torch.zeros(count, size, size)
    w[:, : size // 4] = 1
    return w
