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

from benchmarks import digits
from benchmarks.measure import Figure, seconds
from pipeline.config import Penalty
from pipeline.data.loading import as_tensor
from pipeline.feedback.penalty import in_eval
from pipeline.feedback.spending import Feedback
from pipeline.training import trainer
from pipeline.training.trainer import State

EPOCHS, REPEATS = 4, 3
SCHEDULES: dict[str, dict[str, int]] = {
    "all": {},
    "every_2": {"every": 2},
    "every_4": {"every": 4},
    "sample_2": {"sample": 2},
    "sample_4": {"sample": 4},
    "oversample_2": {"oversample": 2},
}


PENALTIES = {"share": digits.SHARE, "eq2": Penalty(form="eq2", output="projection", weight=0.001)}  # eq2: the demo's


def _worth(name: str, form: str, share: float) -> Figure:
    costs = [_costs(form, share, seed) for seed in range(REPEATS)]
    return Figure.of([cost["all"] / cost[name] for cost in costs])


FIGURES: dict[str, Callable[[], Figure]] = {
    f"spending_{form}_{name}_{round(100 * share)}pct": partial(_worth, name, form, share)
    for form in PENALTIES
    for share in (0.07, 0.7)
    for name in SCHEDULES
    if name != "all"
}


@cache
def _costs(form: str, share: float, seed: int) -> dict[str, float]:
    """Mean squared difference from the full gradient times seconds a step, of each schedule, at fixed weights.

    The schedules take turns, an epoch each, so that all of them meet the same machine.
    """
    state, images = _start(form, share), digits.images("train")
    full = _full_gradient(form, share)
    torch.manual_seed(seed)
    feedbacks = {name: _feedback(form, share, state, schedule) for name, schedule in SCHEDULES.items()}
    differences: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    times: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    with in_eval(state.model):
        for epoch in range(EPOCHS + 1):
            for name, feedback in feedbacks.items():
                _, batches = trainer._balanced(images.labels, digits.TRAIN, feedback.times())
                for batch in batches:
                    took = seconds(partial(_backward, state, feedback, batch))
                    if epoch:  # the first is for the check of the penalty, and for caches
                        times[name].append(took)
                        differences[name].append(float((_gradient(state) - full).square().sum()))
    return {name: statistics.mean(differences[name]) * statistics.mean(times[name]) for name in SCHEDULES}


@cache
def _full_gradient(form: str, share: float) -> Tensor:
    """Of all images and all masks; a random projection is averaged over some draws."""
    state, size = _start(form, share), digits.TRAIN.batch_size
    feedback = _feedback(form, share, state, {})
    total = torch.zeros(())
    draws = 1 if PENALTIES[form].output == "logits" else 8
    torch.manual_seed(99)
    with in_eval(state.model):
        for start in range(0, draws * digits.COUNT, size):
            _backward(state, feedback, [i % digits.COUNT for i in range(start, start + size)])
            total = total + _gradient(state) * size / digits.COUNT / draws
    return total


def _backward(state: State, feedback: Feedback, batch: list[int]) -> None:
    images = digits.images("train")
    state.optimizer.zero_grad()
    x = trainer.as_input(state, as_tensor(images.pixels[batch]))
    cross_entropy(state.model(x), images.labels[batch]).backward()
    if plan := feedback.plan(state.model, batch):
        terms = feedback.terms(state.model, plan, list(range(len(plan.images))))
        (plan.weight * terms.sum() / len(batch)).backward()


def _gradient(state: State) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])


def _feedback(form: str, share: float, state: State, schedule: dict[str, int]) -> Feedback:
    settings = PENALTIES[form].model_copy(update=schedule)
    feedback = trainer.feedback_on(state, digits.images("train"), settings, digits.masks(share))
    assert feedback is not None
    return feedback


@cache
def _start(form: str, share: float) -> State:
    """A network that has begun to take the shortcut, and to unlearn it."""
    state, data = digits.begin(seed=0), {s: digits.images(s) for s in ("train", "val")}
    trainer.train(state, data, digits.SCENARIO, 0, digits.TRAIN.baseline_epochs, "start", masks=None)
    settings = digits.SCENARIO.model_copy(update={"penalty": PENALTIES[form]})
    trainer.train(state, data, settings, 0, 1, "masks", masks=digits.masks(share))
    return state
