"""Training as every arm does it: epochs of CE on augmented images, plus the penalty where masks are.

Order and augmentation of an epoch follow from (seed, epoch) alone, so all arms of a scenario see the
same batches, and no random state needs to be stored: a state is weights, optimizer and epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn
from torchvision.transforms import v2

from pipeline import model as networks
from pipeline.config import Augment, Penalty, Scenario, Train
from pipeline.errors import PipelineError
from pipeline.feedback import Feedback
from pipeline.metrics import classification
from pipeline.model import Classifier
from pipeline.penalty import in_eval

SCORING_BATCH = 64


class DivergedError(PipelineError):
    """The loss is no longer a number."""


@dataclass
class Rows:
    """Some rows of a memory-mapped array, in an order of their own, read when asked for: ``rows[some]``."""

    array: NDArray[np.uint8]
    chosen: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, some: int | slice | list[int]) -> NDArray[np.uint8]:
        return np.asarray(self.array[self.chosen[some]])


@dataclass
class Images:
    """Some images of a prepared data set: ``pixels`` (N, S, S, 3) uint8, ``labels`` (N,) class numbers."""

    ids: list[str]
    pixels: Rows | NDArray[np.uint8]
    labels: Tensor


@dataclass
class State:
    """A network in training after ``epoch`` epochs, on the accelerator's device.

    ``penalty_weight`` is the lambda that `weight: auto` came to, once it has.
    """

    accelerator: Accelerator
    model: Classifier
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    penalty_weight: float | None = None


def begin(model: Classifier, settings: Train) -> State:
    """A fresh Adam (the paper's optimizer) around a network."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads it
    accelerator = Accelerator()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    return State(accelerator, *accelerator.prepare(model, optimizer))


def save(state: State, path: Path) -> None:
    """Store the state; the same state is the same bytes."""
    model = state.accelerator.unwrap_model(state.model)
    networks.write(
        {
            "architecture": model.architecture,
            "classes": model.classes,
            "weights": {key: value.cpu() for key, value in model.network.state_dict().items()},
            "optimizer": state.optimizer.state_dict(),
            "epoch": state.epoch,
            "penalty_weight": state.penalty_weight,
        },
        path,
    )


def restore(path: Path, settings: Train) -> State:
    """The state that ``save`` stored, ready to train on; raises ConfigError if it is missing or damaged."""
    stored = networks.read(path)
    state = begin(networks.build(stored, stored["classes"]), settings)
    state.optimizer.load_state_dict(stored["optimizer"])
    state.epoch, state.penalty_weight = stored["epoch"], stored["penalty_weight"]
    return state


def train_epoch(
    state: State,
    images: Images,
    settings: Train,
    seed: int,
    *,
    freeze_batchnorm: bool,
    feedback: Feedback | None = None,
) -> dict[str, float]:
    """One epoch; the state's network and epoch move on.

    A step minimises (1/B) sum_i [CE_i + lambda P_i] over its batch of B images, with P_i = 0 where
    an image has no mask: an image's pull on the weights depends neither on the batch size nor on
    how many images of its batch carry a mask. CE sees the augmented image, P the original one; each
    has its own backward pass. With ``class_balance: loss``, CE_i is
    weighted by its class. Returns means over images: ``train_loss`` (unweighted CE, nats), ``penalty``
    (unweighted, over penalised images), ``penalised_fraction`` of the images, and ``penalty_weight``, lambda.
    Raises DivergedError, and what ``feedback`` raises.
    """
    model, optimizer, accelerator = state.model, state.optimizer, state.accelerator
    ce_sum, penalty_sum, penalised, seen = 0.0, 0.0, 0, 0
    model.train()
    with _seeded(seed, state.epoch), in_eval(model, _BatchNorm) if freeze_batchnorm else nullcontext():
        in_loss, batches = _balanced(images.labels, settings, feedback.times() if feedback else None)
        quiet = not sys.stdout.isatty()  # a log gets a line an epoch, not a bar
        for batch in track(batches, f"epoch {state.epoch + 1}", transient=True, disable=quiet):
            x = as_input(state, _augmented(images.pixels[batch], settings.augment))
            labels = images.labels[batch]
            ce = cross_entropy(model(x), labels.to(accelerator.device), reduction="none")
            optimizer.zero_grad()
            accelerator.backward((ce * in_loss[labels].to(ce)).mean())
            if feedback and (found := feedback.terms(model, batch)):
                terms, weight = found
                if terms.requires_grad:  # all but those of the form as-published
                    accelerator.backward(weight * terms.sum() / len(batch))
                penalty_sum += float(terms.detach().sum())
                penalised += len(terms)
            optimizer.step()
            ce_sum += float(ce.detach().sum())
            seen += len(batch)
            if not np.isfinite(ce_sum + penalty_sum):
                raise DivergedError(
                    f"epoch {state.epoch + 1}: the loss is {ce_sum} and the penalty {penalty_sum}; "
                    "lower `penalty.weight` or `train.learning_rate` in params.yaml"
                )
    state.epoch += 1
    state.penalty_weight = feedback.weight if feedback else state.penalty_weight
    return {
        "train_loss": ce_sum / seen,
        "penalty": penalty_sum / max(penalised, 1),
        "penalised_fraction": penalised / seen,
        "penalty_weight": (state.penalty_weight or 0.0) if penalised else 0.0,
    }


def train(
    state: State,
    data: dict[str, Images],
    settings: Scenario,
    seed: int,
    epochs: int,
    step: str,
    *,
    masks: dict[str, NDArray[Any]] | None,
) -> pd.DataFrame:
    """Some epochs on ``data["train"]``, each followed by a reading of every other split.

    ``masks`` are those in force, W (S, S) by image id, and None in the baseline. The penalty sees BatchNorm
    with its running statistics, which lag behind weights that it moves fast, so that an epoch may look worse
    than its weights are. ``batchnorm: moving`` leaves it at that, as the paper does; ``settled`` averages the
    statistics anew after each epoch; ``frozen`` does so in the baseline and keeps them from then on.

    Returns the history, one row an epoch: ``step`` (what the epoch belongs to: ``start``, a round, an arm),
    ``epoch``, what ``train_epoch`` returns, and ``<split>_<metric>`` for each split.
    """
    batchnorm = settings.train.batchnorm
    frozen = batchnorm == "frozen" and masks is not None
    feedback = feedback_on(state, data["train"], settings.penalty, masks) if masks else None
    rows = []
    for _ in range(epochs):
        row: dict[str, Any] = {"step": step, "epoch": state.epoch + 1}
        row |= train_epoch(state, data["train"], settings.train, seed, freeze_batchnorm=frozen, feedback=feedback)
        if batchnorm != "moving" and not frozen:
            settle_batchnorm(state, data["train"])
        for split, images in data.items():
            if split != "train":
                scores = classification(logits(state, images.pixels), images.labels)
                row |= {f"{split}_{name}": value for name, value in scores}
        rows.append(row)
        print(
            f"{step}: epoch {state.epoch}, train loss {row['train_loss']:.3f}, "
            f"val loss {row['val_loss']:.3f}, val accuracy {row['val_accuracy']:.1%}",
            flush=True,
        )
    return pd.DataFrame(rows)


def settle_batchnorm(state: State, images: Images) -> None:
    """Set BatchNorm's statistics to plain averages over the un-augmented images."""
    starts = range(0, len(images.ids), SCORING_BATCH)
    batches = (as_input(state, as_tensor(images.pixels[start : start + SCORING_BATCH])) for start in starts)
    update_bn(batches, state.model)


def logits(state: State, pixels: Rows | NDArray[np.uint8]) -> Tensor:
    """Logits (N, C) of (N, S, S, 3) un-augmented images in eval mode, on the CPU."""
    state.model.eval()
    with torch.inference_mode():
        starts = range(0, len(pixels), SCORING_BATCH)
        batches = (as_tensor(pixels[start : start + SCORING_BATCH]) for start in starts)
        return torch.cat([state.model(as_input(state, batch)).float().cpu() for batch in batches])


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255


def as_input(state: State, images: Tensor) -> Tensor:
    """(B, 3, S, S) float in 0..1 → the network's normalised input, on its device."""
    model = state.accelerator.unwrap_model(state.model)
    moved = images.to(state.accelerator.device, memory_format=torch.channels_last)
    return model.normalise(moved)


def feedback_on(state: State, images: Images, settings: Penalty, masks: dict[str, NDArray[Any]]) -> Feedback | None:
    """The masks of some epochs on these images, as the settings spend on them; None where they change nothing."""
    if settings.weight == 0 and settings.oversample == 1:
        return None
    weight = state.penalty_weight if settings.weight == "auto" else settings.weight

    def originals(some: list[int]) -> Tensor:
        return as_input(state, as_tensor(images.pixels[some]))

    return Feedback(masks, settings, weight, images.ids, images.labels, originals)


def _balanced(labels: Tensor, settings: Train, times: Tensor | None) -> tuple[Tensor, list[list[int]]]:
    """The weight of each class in the loss, and an epoch's batches; ``times``: how often each image comes.

    With ``class_balance: loss``, N / (C n_c) as in King and Zeng 2001; with ``sampler``, images are drawn
    with replacement, each class as often.
    """
    counts = torch.bincount(labels)
    rare = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    in_loss = rare if settings.class_balance == "loss" else torch.ones(len(counts))
    times = torch.ones_like(labels) if times is None else times
    if settings.class_balance == "sampler":
        order = torch.multinomial(rare[labels] * times, int(times.sum()), replacement=True).tolist()
    else:
        positions = torch.arange(len(labels)).repeat_interleave(times)
        order = positions[torch.randperm(len(positions))].tolist()
    size = settings.batch_size
    return in_loss, [order[start : start + size] for start in range(0, len(order), size)]


def _augmented(pixels: NDArray[np.uint8], settings: Augment) -> Tensor:
    """The paper's four augmentations, drawn anew for each image: (B, S, S, 3) → (B, 3, S, S) in 0..1."""
    size = pixels.shape[1]
    steps: list[Any] = []
    if settings.flip:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if settings.rotate_degrees:
        steps.append(v2.RandomRotation(settings.rotate_degrees, v2.InterpolationMode.BILINEAR))
    if settings.crop:
        scale = ((1 - settings.crop) ** 2, 1.0)
        steps.append(v2.RandomResizedCrop(size, scale=scale, ratio=(1.0, 1.0), antialias=True))
    if settings.brightness:
        steps.append(v2.ColorJitter(brightness=settings.brightness))
    draw = v2.Compose(steps) if steps else v2.Identity()
    return torch.stack([draw(image) for image in as_tensor(pixels)])


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed * 100_003 + epoch)  # a prime apart: no two (seed, epoch) pairs meet
        yield
