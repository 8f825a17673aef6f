"""The cost of the method over training without it, and its exactness.

The network is EfficientNet-B0 at 224 x 224 pixels in batches of four, as in the paper, unless a figure names another.
Weights are random, because neither time nor exactness depends on what a network has learnt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import RUNS, Figure, Figures, ratio
from pipeline.config import Augment, FeedbackSettings, Penalty, QuerySettings, Train
from pipeline.data.loading import Images
from pipeline.feedback.check import check
from pipeline.feedback.counterexamples import Counterexamples
from pipeline.feedback.form import FormOfFeedback
from pipeline.feedback.penalty import penalty
from pipeline.models.classifier import Classifier
from pipeline.query.deeplift import deeplift
from pipeline.query.references import blurred
from pipeline.query.selection import choose
from pipeline.training import inference, states, trainer
from pipeline.training.epoch import train_epoch
from pipeline.training.states import State

NETWORK, SMALLEST = "tf_efficientnet_b0", "test_efficientnet"  # the smallest network of timm
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
GRID = 8  # cells a side


def penalty_step_ratio(architecture: str, fast: bool = True, size: int = SIZE, runs: int = RUNS) -> Figure:
    """Time of a step with the penalty on every image over the time of a step without it.

    ``fast``: by the fast route; else by PyTorch's own double backward.
    """
    network: nn.Module = timm.create_model(architecture, num_classes=2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)
    x, labels, w = _noise(BATCH, size), torch.arange(BATCH) % 2, _corner(BATCH, size)

    def penalised() -> Tensor:
        return penalty(network, x, w, form="eq2", output="logits", fast=fast)

    def step(penalties: Callable[[], Tensor] | None) -> None:
        network.train()
        optimizer.zero_grad()
        cross_entropy(network(x), labels).backward()
        if penalties:
            penalties().sum().backward()
        optimizer.step()

    return ratio(lambda: step(penalised), lambda: step(None), runs)


def penalty_cosine(architectures: tuple[str, ...] = ARCHITECTURES) -> Figure:
    """Cosine between the penalty's gradient that a run uses and the exact gradient; low: the worst architecture."""
    found = []
    for name in track(architectures, "penalty_cosine", transient=True):
        network = _stirred(timm.create_model(name, num_classes=5))
        result = check(network, _noise(2, 64), _corner(2, 64), form="eq2", output="logits")
        found.append(result.cosine if result.fast else 1.0)  # else, a run takes the exact route
    return Figure(min(found), min(found), max(found))


def hitl_epoch_ratio(share: float, penalty: Penalty = EQ2, count: int = 40, size: int = SIZE, runs: int = 3) -> Figure:
    """Time of an epoch with this share of the images masked over the time of the same epoch without masks."""
    state, images = begin(), pictures(count, size)
    feedback = trainer.feedback_on(state, images, penalty, _top_masked(images, round(share * count)))
    return _epoch_ratio(state, images, feedback, runs)


def counterexamples_epoch_ratio(consistency: float = 0.0, count: int = 40, size: int = SIZE, runs: int = 3) -> Figure:
    """Time of an epoch with a counterexample for every image over the time of an epoch with the originals."""
    state, images = begin(), pictures(count, size)
    settings = FeedbackSettings(form="counterexamples", edge=0.1, consistency=consistency)
    masks = _top_masked(images, count)
    made = Counterexamples(masks, settings, images, lambda x: inference.as_input(state, x))
    return _epoch_ratio(state, images, made, runs)


def deeplift_completeness_worst(architectures: tuple[str, ...] = ARCHITECTURES) -> Figure:
    """DeepLIFT's completeness error, relative to the output's difference; high: the worst image and architecture."""
    worst = []
    for name in track(architectures, "deeplift_completeness_worst", transient=True):
        network = _stirred(timm.create_model(name, num_classes=5))
        x = _noise(3, 64)
        worst.append(float(deeplift(network, x, blurred(x), torch.tensor([0, 2, 4]))[1].max()))
    return Figure(max(worst), min(worst), max(worst))


def deeplift_batch_speedup(count: int = 20, size: int = SIZE, runs: int = 3) -> Figure:
    """Time to explain images one by one over the time to explain them together."""
    network, x = timm.create_model(NETWORK, num_classes=2), _noise(count, size)
    reference, target = blurred(x), torch.zeros(count, dtype=torch.long)

    def explain(at_once: int) -> None:
        for i in range(0, count, at_once):
            some = slice(i, i + at_once)
            deeplift(network, x[some], reference[some], target[some])

    return ratio(lambda: explain(1), lambda: explain(count), runs)


def deeplift_cost(size: int = SIZE, runs: int = RUNS) -> Figure:
    """Time to explain a batch over the time of a forward pass; four passes are the floor: two, and one backward."""
    network = timm.create_model(NETWORK, num_classes=2).to(memory_format=torch.channels_last).eval()
    x, target = _noise(BATCH, size), torch.zeros(BATCH, dtype=torch.long)
    reference = blurred(x)

    def forward() -> None:
        with torch.no_grad():
            network(x)

    return ratio(lambda: deeplift(network, x, reference, target), forward, runs)


def query_export_ratio(pool: int = 200, queries: int = 20, size: int = SIZE, runs: int = 3) -> Figure:
    """Time to choose, explain and write a round's queries over the time to read the pool once (10% of ISIC2017)."""
    state, images = begin(), pictures(pool, size)
    settings = QuerySettings(strategy="entropy", cell=size // GRID, proposals=10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        export = partial(choose, state, images, asked={}, count=queries, settings=settings, seed=0, folder=folder)
        return ratio(export, lambda: inference.logits(state, images.pixels), runs)


FIGURES: Figures = {
    "penalty_step_ratio": partial(penalty_step_ratio, NETWORK),
    "penalty_step_ratio_relu6": partial(penalty_step_ratio, "tf_efficientnet_lite0"),  # no second derivatives
    "penalty_step_ratio_exact": partial(penalty_step_ratio, NETWORK, fast=False),
    "penalty_cosine": penalty_cosine,
    "hitl_epoch_ratio_7pct": partial(hitl_epoch_ratio, 0.07),
    "hitl_epoch_ratio_70pct": partial(hitl_epoch_ratio, 0.7),
    "late_epoch_ratio_70pct": partial(hitl_epoch_ratio, 0.7, Penalty(form="late", output="predicted", weight=1.0)),
    "counterexamples_epoch_ratio": counterexamples_epoch_ratio,
    "consistency_epoch_ratio": partial(counterexamples_epoch_ratio, 1.0),
    "deeplift_completeness_worst": deeplift_completeness_worst,
    "deeplift_batch_speedup": deeplift_batch_speedup,
    "deeplift_cost": deeplift_cost,
    "query_export_ratio": query_export_ratio,
}


def begin() -> State:
    """Return the paper's network before training."""
    torch.manual_seed(0)
    model = Classifier(NETWORK, ["a", "b"]).to(memory_format=torch.channels_last)
    return states.begin(model, PAPER)


def pictures(count: int, size: int = SIZE) -> Images:
    """Return pictures of noise in two classes."""
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Images([f"image-{i}" for i in range(count)], pixels, torch.arange(count) % 2)


def _top_masked(images: Images, count: int) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the upper quarter for the first ``count`` images."""
    size = images.pixels[[0]].shape[1]
    mask = np.zeros((size, size), bool)
    mask[: size // 4] = True
    return dict.fromkeys(images.ids[:count], mask)


def _epoch_ratio(state: State, images: Images, feedback: FormOfFeedback | None, runs: int) -> Figure:
    """Return the time of an epoch with this feedback over the time of an epoch without."""

    def epoch(feedback: FormOfFeedback | None) -> None:
        train_epoch(state, images, PAPER, seed=0, freeze_batchnorm=False, feedback=feedback)

    return ratio(lambda: epoch(feedback), lambda: epoch(None), runs)


def _stirred(network: nn.Module) -> nn.Module:
    """Shift BatchNorm's biases as some training does; in a new network, BatchNorm hardly acts, which is too easy."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(std=0.3)
    return network.to(memory_format=torch.channels_last)


def _noise(count: int, size: int) -> Tensor:
    x = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last)


def _corner(count: int, size: int) -> Tensor:
    """Return masks (count, size, size) of the upper quarter."""
    w = torch.zeros(count, size, size)
    w[:, : size // 4] = 1
    return w
