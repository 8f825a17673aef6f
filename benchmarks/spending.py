"""How best to spend time on the penalty: which schedule's steps are nearest to the full gradient, per second.

A step's gradient differs by chance from the gradient of all images. The cost of a schedule is the mean square of that
difference times the seconds of a step (Bottou and Bousquet 2008, *The Tradeoffs of Large Scale Learning*: with twice
the steps in the same time, the mean square is half). Each figure is the cost of penalising all masked images in every
step over the cost of a schedule: above 1, the schedule is better.
"""

from __future__ import annotations

import statistics
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks import digits
from benchmarks.measure import Figure, Figures, seconds
from pipeline.config import Penalty
from pipeline.data.loading import Images, as_tensor
from pipeline.feedback.spending import Feedback
from pipeline.models.modes import in_eval
from pipeline.training import inference, trainer
from pipeline.training.epoch import draw_batches
from pipeline.training.states import State

EPOCHS, REPEATS = 4, 3
ALL = "all"
SCHEDULES: dict[str, dict[str, int]] = {
    ALL: {},
    "every_2": {"every": 2},
    "every_4": {"every": 4},
    "sample_2": {"sample": 2},
    "sample_4": {"sample": 4},
    "oversample_2": {"oversample": 2},
}
PENALTIES = {"share": digits.SHARE, "eq2": Penalty(form="eq2", output="projection", weight=0.001)}  # eq2: the demo's


def advantage(
    schedule: str,
    form: str,
    share: float,
    *,
    count: int = digits.COUNT,
    epochs: int = EPOCHS,
    repeats: int = REPEATS,
) -> Figure:
    """Return the cost of penalising everything over the cost of a schedule.

    Args:
        schedule: One of ``SCHEDULES``.
        form: One of ``PENALTIES``.
        share: The share of the training images that have a mask.
        count: The number of training images.
        epochs: The number of epochs over which costs are averaged.
        repeats: The number of runs.
    """
    costs = [_costs(form, share, seed=seed, count=count, epochs=epochs) for seed in range(repeats)]
    return Figure.of([cost[ALL] / cost[schedule] for cost in costs])


FIGURES: Figures = {
    f"spending_{form}_{schedule}_{round(100 * share)}pct": partial(advantage, schedule, form, share)
    for form in PENALTIES
    for share in (0.07, 0.7)
    for schedule in SCHEDULES
    if schedule != ALL
}


@cache
def _costs(form: str, share: float, *, seed: int, count: int, epochs: int) -> dict[str, float]:
    """Return each schedule's mean squared difference from the full gradient times the seconds of a step.

    The weights stay fixed. The schedules take turns, one epoch each, so that the machine's load is the same for all.
    """
    state, images = _start(form, share, count), digits.images("train", count)
    full = _full_gradient(form, share, count)
    torch.manual_seed(seed)
    feedbacks = {name: _feedback(state, images, form, share, **schedule) for name, schedule in SCHEDULES.items()}
    differences: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    times: dict[str, list[float]] = {name: [] for name in SCHEDULES}
    with in_eval(state.model):
        for epoch in range(epochs + 1):
            for name, feedback in feedbacks.items():
                _, batches = draw_batches(images.labels, digits.TRAIN, feedback.occurrences())
                for batch in batches:
                    took = seconds(partial(_backward, state, images, feedback, batch))
                    if epoch:  # the first epoch checks the penalty and fills caches
                        times[name].append(took)
                        differences[name].append(float((_gradient(state) - full).square().sum()))
    return {name: statistics.mean(differences[name]) * statistics.mean(times[name]) for name in SCHEDULES}


@cache
def _full_gradient(form: str, share: float, count: int) -> Tensor:
    """Return the gradient of all images and all masks; a random projection is averaged over some draws."""
    state, images, size = _start(form, share, count), digits.images("train", count), digits.TRAIN.batch_size
    feedback = _feedback(state, images, form, share)
    total = torch.zeros(())
    draws = 1 if PENALTIES[form].output == "logits" else 8
    torch.manual_seed(99)
    with in_eval(state.model):
        for start in range(0, draws * count, size):
            _backward(state, images, feedback, [i % count for i in range(start, start + size)])
            total = total + _gradient(state) * size / count / draws
    return total


def _backward(state: State, images: Images, feedback: Feedback, batch: list[int]) -> None:
    """Compute a step's gradient of cross-entropy and penalty, on images without augmentation."""
    state.optimizer.zero_grad()
    x = inference.as_input(state, as_tensor(images.pixels[batch]))
    cross_entropy(state.model(x), images.labels[batch]).backward()
    if step := feedback.next_step(state.model, batch):
        penalties = feedback.penalties(state.model, step, list(range(len(step.images))))
        (step.weight * penalties.sum() / len(batch)).backward()


def _gradient(state: State) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])


def _feedback(state: State, images: Images, form: str, share: float, **schedule: int) -> Feedback:
    settings = PENALTIES[form].model_copy(update=schedule)
    feedback = trainer.feedback_on(state, images, settings, digits.masks(share, len(images.ids)))
    assert feedback is not None
    return feedback


@cache
def _start(form: str, share: float, count: int) -> State:
    """Return a network that has begun to learn the shortcut and then to unlearn it."""
    state, data = digits.begin(seed=0), {split: digits.images(split, count) for split in ("train", "val")}
    train = partial(trainer.train, state, data, seed=0)
    train(digits.SCENARIO, epochs=digits.TRAIN.baseline_epochs, step="start", masks=None)
    settings = digits.SCENARIO.model_copy(update={"penalty": PENALTIES[form]})
    train(settings, epochs=1, step="masks", masks=digits.masks(share, count))
    return state
