"""One epoch: cross-entropy on augmented images, plus the penalty on the original images that carry a mask (Eq. 2).

With counterexamples, the cross-entropy reads them in place of the images that carry a mask.

Order and augmentation follow from (seed, epoch) alone. All arms of a scenario therefore see the same batches, and a
state needs no random numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config import Train
from pipeline.data import loading
from pipeline.data.augmentation import DRAWS
from pipeline.data.loading import Images
from pipeline.errors import PipelineError
from pipeline.feedback import form
from pipeline.feedback.form import FormOfFeedback
from pipeline.models import outputs, tasks
from pipeline.models.modes import in_eval
from pipeline.training.distributed import share, sum_gradients, totals
from pipeline.training.inference import as_input
from pipeline.training.states import State


class DivergedError(PipelineError):
    """The loss is no longer a number."""


def train_epoch(
    state: State,
    images: Images,
    settings: Train,
    *,
    seed: int,
    freeze_batchnorm: bool,
    feedback: FormOfFeedback | None = None,
) -> dict[str, float]:
    """Train one epoch; the state's network and epoch move on.

    A step minimises (1/B) sum_i [CE_i + lambda P_i] over its batch of B images, with P_i = 0 for an image without a
    mask. An image's weight in the loss depends on neither the batch size, the other images' masks, nor the number of
    processes or slices. CE sees the augmented image and P the original image; each has its own backward pass. With
    `class_balance: loss`, CE_i is weighted by its class.

    Args:
        state: The network, its optimizer and its epoch.
        images: The training images.
        settings: How to train.
        seed: With the epoch, it determines order and augmentation.
        freeze_batchnorm: Whether BatchNorm keeps its running statistics.
        feedback: What the masks in force do; None trains without feedback.

    Returns:
        Means over images: ``train_loss`` (unweighted CE, nats), ``penalty`` (unweighted, over penalised images),
        ``penalised_fraction`` of the images, and ``penalty_weight`` (lambda).

    Raises:
        ValueError: A label is no class number, as -100, which the cross-entropy would leave out.
        NetworkError: All weights are frozen.
        DivergedError: The loss is not finite.
        PipelineError: The penalty is dead or not finite (see `pipeline.feedback.penalty`).
    """
    state.model.task.check(images.labels, len(state.model.classes))
    outputs.learning(state.model)
    state.model.train()
    with _seeded(seed, state.epoch), in_eval(state.model, _BatchNorm) if freeze_batchnorm else nullcontext():
        weights, batches = draw_batches(images.labels, settings, feedback.occurrences() if feedback else None)
        epoch = _Epoch(state, images, settings, weights, feedback)
        for batch, own, x in epoch.load(batches):
            state.optimizer.zero_grad()
            epoch.add_cross_entropy(x, own, len(batch))
            epoch.add_penalty(batch)
            sum_gradients(state.model, state.accelerator)
            state.optimizer.step()
            epoch.check()
    state.epoch += 1
    state.penalty_weight = feedback.weight if feedback else state.penalty_weight
    return epoch.means(seen=sum(map(len, batches)))


@dataclass
class _Epoch:
    """One epoch under way, with its sums so far."""

    state: State
    images: Images
    settings: Train
    weights: Tensor | None  # of each image's label in the loss, in the shape of the labels
    feedback: FormOfFeedback | None
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))  # CE; penalty; penalised images

    def load(self, batches: list[list[int]]) -> Iterator[tuple[list[int], list[int], Tensor]]:
        """Yield each batch, this process's share of the batch, and that share's augmented images."""
        accelerator = self.state.accelerator
        own = [share(batch, accelerator) for batch in batches]
        draws = [torch.rand(len(batch), DRAWS)[share(list(range(len(batch))), accelerator)] for batch in batches]
        loaded = loading.batches(
            self.images.pixels,
            chosen=own,
            draws=draws,
            settings=self.settings.augment,
            device=accelerator.device,
            replace=self._replacing(batches, own),
        )
        quiet = not sys.stdout.isatty()  # a log gets one line per epoch and no bar
        shown = track(batches, f"epoch {self.state.epoch + 1}", disable=quiet)
        yield from zip(shown, own, loaded, strict=True)

    def _replacing(self, batches: list[list[int]], own: list[list[int]]) -> Callable[[int, Tensor], Tensor] | None:
        """Return the function that changes a batch as the form of feedback does; None where it changes no image.

        Its numbers are drawn last, so that arms without it read the same images.
        """
        if not (made := self.feedback) or not made.replaces:
            return None
        accelerator = self.state.accelerator
        draws = [torch.rand(len(batch), form.DRAWS)[share(list(range(len(batch))), accelerator)] for batch in batches]
        return lambda number, images: made.replace(images, own[number], draws[number])

    def add_cross_entropy(self, x: Tensor, own: list[int], batch_size: int) -> None:
        """Add the gradient of CE on this process's augmented images (n, 3, S, S)."""
        accelerator = self.state.accelerator
        for part in _slices(len(own), self.settings.slices):
            some = own[part]
            labels = self.images.labels[some].to(accelerator.device)
            weights = None if self.weights is None else self.weights[some]
            with accelerator.autocast():
                logits = self.state.model(as_input(self.state, x[part]))
            losses = partial(self.state.model.task.losses, logits.float(), labels)
            accelerator.backward(losses(weights).sum() / batch_size)
            self.sums[0] += float(losses().detach().sum())

    def add_penalty(self, batch: list[int]) -> None:
        """Add the gradient of the penalty on the batch's original images that are penalised in this step."""
        if not self.feedback or not (step := self.feedback.next_step(self.state.model, batch)):
            return
        places = share(list(range(len(step.images))), self.state.accelerator)
        for part in _slices(len(places), self.settings.slices):
            penalties = self.feedback.penalties(self.state.model, step, places[part])
            if penalties.requires_grad:  # penalties of the form as-published do not
                self.state.accelerator.backward(step.weight * penalties.sum() / len(batch))
            self.sums[1:] += float(penalties.detach().sum()), len(penalties)

    def check(self) -> None:
        """Raise DivergedError if a sum is not finite."""
        if not np.isfinite(self.sums).all():
            raise DivergedError(
                f"the loss of epoch {self.state.epoch + 1} is {self.sums[0]} and the penalty is {self.sums[1]}. "
                "Fix: lower `penalty.weight` or `train.learning_rate` in params.yaml"
            )

    def means(self, seen: int) -> dict[str, float]:
        """Return the means over images, of all processes together."""
        ce, penalty, penalised = totals(self.sums.tolist(), self.state.accelerator)
        return {
            "train_loss": ce / seen,
            "penalty": penalty / max(penalised, 1),
            "penalised_fraction": penalised / seen,
            "penalty_weight": (self.state.penalty_weight or 0.0) if penalised else 0.0,
        }


def draw_batches(labels: Tensor, settings: Train, times: Tensor | None) -> tuple[Tensor | None, list[list[int]]]:
    """Return the weight of each label in the loss (None: all are equal), and an epoch's batches as positions of images.

    ``times`` (N,): how often each image occurs in the epoch. `class_balance: loss` weighs classes by N / (C n_c), after
    King and Zeng 2001, *Logistic regression in rare events data*. `sampler` draws images with replacement, each class
    equally often.
    """
    task = tasks.of(labels)
    if settings.class_balance == "sampler" and task.findings:
        raise ValueError("`class_balance: sampler` needs one class an image. Fix: choose loss or none for findings")
    rare = task.balance(labels)
    weights = rare if settings.class_balance == "loss" else None
    times = torch.ones(len(labels), dtype=torch.long) if times is None else times
    if settings.class_balance == "sampler":
        order = torch.multinomial(rare * times, int(times.sum()), replacement=True).tolist()
    else:
        positions = torch.arange(len(labels)).repeat_interleave(times)
        order = positions[torch.randperm(len(positions))].tolist()
    size = settings.batch_size
    return weights, [order[start : start + size] for start in range(0, len(order), size)]


def _slices(count: int, parts: int) -> list[slice]:
    """Cut 0..count - 1 into at most ``parts`` slices, none of them empty."""
    each = -(-count // parts) or 1
    return [slice(start, start + each) for start in range(0, count, each)]


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed * 100_003 + epoch)  # a prime apart: no two (seed, epoch) pairs meet
        yield
