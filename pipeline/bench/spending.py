"""How best to spend time on the penalty: which schedule's steps come nearest to the full gradient, per second.

A step's gradient differs from that of all images together by chance. What a schedule is worth is the mean
square of that difference times the seconds a step takes (Bottou and Bousquet 2008, *The Tradeoffs of Large
Scale Learning*: at a given variance, twice the steps are worth half of it). Each figure is the worth of a
schedule over that of penalising all masked images in every step: above 1, it is the better one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache, partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline import training
from pipeline.bench.measure import Figure, seconds
from pipeline.config import Augment, Backbone, Penalty, Train
from pipeline.datasets import decoy_digits
from pipeline.feedback import Feedback
from pipeline.model import build, pretrained
from pipeline.penalty import in_eval
from pipeline.training import Images, State

TRAIN = Train(
    baseline_epochs=2,
    learning_rate=3e-4,
    batch_size=16,
    batchnorm="settled",
    augment=Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0),
)
PENALTY = Penalty(form="eq2", output="projection", weight=0.001)  # the demo's
COUNT, SIZE, EPOCHS, REPEATS = 192, 64, 4, 3
SCHEDULES: dict[str, dict[str, int]] = {
    "all": {},
    "every_2": {"every": 2},
    "every_4": {"every": 4},
    "sample_4": {"sample": 4},
    "oversample_2": {"oversample": 2},
}


def _worth(name: str, share: float) -> Figure:
    costs = [_costs(share, seed) for seed in range(REPEATS)]
    return Figure.of([cost["all"] / cost[name] for cost in costs])


FIGURES: dict[str, Callable[[], Figure]] = {
    f"spending_{name}_{round(100 * share)}pct": partial(_worth, name, share)
    for share in (0.07, 0.7)
    for name in SCHEDULES
    if name != "all"
}


@cache
def _costs(share: float, seed: int) -> dict[str, float]:
    """Mean squared difference from the full gradient times seconds a step, of each schedule, at fixed weights.

    The schedules take turns, an epoch each, so that all of them meet the same machine.
    """
    state, images, masks = _start(share)
    full = _full_gradient(share)
    torch.manual_seed(seed)
    feedbacks = {n: _feedback(state, images, masks, PENALTY.model_copy(update=s)) for n, s in SCHEDULES.items()}
    differences: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    times: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    with in_eval(state.model):
        for _ in range(EPOCHS):
            for name, feedback in feedbacks.items():
                _, batches = training._balanced(images.labels, TRAIN, feedback.times())
                for batch in batches:
                    times[name].append(seconds(partial(_backward, state, images, feedback, batch)))
                    differences[name].append(float((_gradient(state) - full).square().sum()))
    return {name: statistics.mean(differences[name]) * statistics.mean(times[name]) for name in SCHEDULES}


@cache
def _full_gradient(share: float) -> Tensor:
    """Of all images and all masks; a random projection is averaged over some draws."""
    state, images, masks = _start(share)
    total = torch.zeros(())
    torch.manual_seed(1)
    feedback = _feedback(state, images, masks, PENALTY)
    draws = 8
    with in_eval(state.model):
        for _ in range(draws):
            for start in range(0, COUNT, TRAIN.batch_size):
                batch = list(range(start, start + TRAIN.batch_size))
                _backward(state, images, feedback, batch)
                total = total + _gradient(state) * len(batch) / COUNT / draws
    return total


def _backward(state: State, images: Images, feedback: Feedback, batch: list[int]) -> None:
    state.optimizer.zero_grad()
    x = training.as_input(state, training.as_tensor(images.pixels[batch]))
    cross_entropy(state.model(x), images.labels[batch]).backward()
    if found := feedback.terms(state.model, batch):
        terms, weight = found
        (weight * terms.sum() / len(batch)).backward()


def _gradient(state: State) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])


def _feedback(state: State, images: Images, masks: dict[str, NDArray[np.bool_]], settings: Penalty) -> Feedback:
    def originals(some: list[int]) -> Tensor:
        return training.as_input(state, training.as_tensor(images.pixels[some]))

    return Feedback(masks, settings, float(settings.weight), images.ids, images.labels, originals)


@cache
def _start(share: float) -> tuple[State, Images, dict[str, NDArray[np.bool_]]]:
    """A network that has begun to take the shortcut, and masks on everything but the digit."""
    items = list(islice((item for item in decoy_digits.items(SIZE) if item.split == "train"), COUNT))
    labels = torch.tensor([decoy_digits.CLASSES.index(item.label) for item in items])
    images = Images([item.name for item in items], np.stack([item.image for item in items]), labels)
    masked = items[: round(share * COUNT)]
    masks = {item.name: ~item.evidence for item in masked if item.evidence is not None}
    torch.manual_seed(0)
    weights = pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed=0)
    state = training.begin(build(weights, decoy_digits.CLASSES), TRAIN)
    for _ in range(TRAIN.baseline_epochs):
        training.train_epoch(state, images, TRAIN, 0, freeze_batchnorm=False)
    training.settle_batchnorm(state, images)
    return state, images, masks
