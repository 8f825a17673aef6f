"""How best to spend time on the penalty: which schedule's steps come nearest to the full gradient, per second.

A step's gradient differs from that of all images together by chance. What a schedule is worth is the mean
square of that difference times the seconds a step takes (Bottou and Bousquet 2008, *The Tradeoffs of Large
Scale Learning*: with twice the steps in the same time, the mean is half as far off). Each figure is the worth
of a schedule over that of penalising all masked images in every step: above 1, it is the better one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline import training
from pipeline.bench import digits
from pipeline.bench.measure import Figure, seconds
from pipeline.feedback import Feedback
from pipeline.penalty import in_eval
from pipeline.training import State

EPOCHS, REPEATS = 4, 3
SCHEDULES: dict[str, dict[str, int]] = {
    "all": {},
    "every_2": {"every": 2},
    "every_4": {"every": 4},
    "sample_2": {"sample": 2},
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
    state, images = _start(share), digits.images("train")
    full = _full_gradient(share)
    torch.manual_seed(seed)
    feedbacks = {name: _feedback(share, state, schedule) for name, schedule in SCHEDULES.items()}
    differences: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    times: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    with in_eval(state.model):
        for epoch in range(EPOCHS + 1):
            for name, feedback in feedbacks.items():
                _, batches = training._balanced(images.labels, digits.TRAIN, feedback.times())
                for batch in batches:
                    took = seconds(partial(_backward, state, feedback, batch))
                    if epoch:  # the first is for the check of the penalty, and for caches
                        times[name].append(took)
                        differences[name].append(float((_gradient(state) - full).square().sum()))
    return {name: statistics.mean(differences[name]) * statistics.mean(times[name]) for name in SCHEDULES}


@cache
def _full_gradient(share: float) -> Tensor:
    """Of all images and all masks."""
    state, size = _start(share), digits.TRAIN.batch_size
    feedback = _feedback(share, state, {})
    total = torch.zeros(())
    with in_eval(state.model):
        for start in range(0, digits.COUNT, size):
            _backward(state, feedback, list(range(start, start + size)))
            total = total + _gradient(state) * size / digits.COUNT
    return total


def _backward(state: State, feedback: Feedback, batch: list[int]) -> None:
    images = digits.images("train")
    state.optimizer.zero_grad()
    x = training.as_input(state, training.as_tensor(images.pixels[batch]))
    cross_entropy(state.model(x), images.labels[batch]).backward()
    if found := feedback.terms(state.model, batch):
        terms, weight = found
        (weight * terms.sum() / len(batch)).backward()


def _gradient(state: State) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])


def _feedback(share: float, state: State, schedule: dict[str, int]) -> Feedback:
    settings = digits.SHARE.model_copy(update=schedule)
    feedback = training._feedback(state, digits.images("train"), settings, digits.masks(share))
    assert feedback is not None
    return feedback


@cache
def _start(share: float) -> State:
    """A network that has begun to take the shortcut, and to unlearn it."""
    state, data = digits.begin(seed=0), {s: digits.images(s) for s in ("train", "val")}
    training.train(state, data, digits.SCENARIO, 0, digits.TRAIN.baseline_epochs, "start", masks=None)
    training.train(state, data, digits.SCENARIO, 0, 1, "masks", masks=digits.masks(share))
    return state
