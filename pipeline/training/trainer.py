"""Training as every arm does it: epochs of CE on augmented images, plus the penalty where masks are.

Order and augmentation of an epoch follow from (seed, epoch) alone, so all arms of a scenario see the
same batches, and no random state needs to be stored: a state is weights, optimizer and epoch. Under a launcher
(`accelerate launch`, `torchrun`) the processes share each batch, see pipeline/training/distributed.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
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

from pipeline.config import Penalty, Scenario, Train
from pipeline.data import loading
from pipeline.data.loading import DRAWS, Images, Rows, as_tensor
from pipeline.errors import PipelineError
from pipeline.feedback.penalty import in_eval
from pipeline.feedback.spending import Feedback
from pipeline.models import classifier as networks
from pipeline.models.classifier import Classifier
from pipeline.training import checkpoints
from pipeline.training.distributed import average_buffers, gathered, join, positions, share, sum_gradients, totals
from pipeline.training.metrics import classification

SCORING_BATCH = 64
CPU_PIXELS = 16 * 224 * 224  # that a CPU reads at once: more, and the system maps memory anew for every layer


class DivergedError(PipelineError):
    """The loss is no longer a number."""


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
    accelerator = join(settings.precision)
    model.to(accelerator.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    return State(accelerator, model, accelerator.prepare_optimizer(optimizer))


def save(state: State, path: Path) -> None:
    """Store the state; the same state is the same bytes."""
    networks.write(_document(state), path)


def restore(path: Path, settings: Train) -> State:
    """The state that ``save`` stored, ready to train on; raises ConfigError if it is missing or damaged."""
    stored = networks.read(path)
    state = begin(networks.build(stored, stored["classes"]), settings)
    _go_back_to(state, stored)
    return state


def _document(state: State) -> dict[str, Any]:
    return {
        "architecture": state.model.architecture,
        "classes": state.model.classes,
        "weights": {key: value.cpu() for key, value in state.model.network.state_dict().items()},
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "penalty_weight": state.penalty_weight,
    }


def _go_back_to(state: State, stored: dict[str, Any]) -> None:
    state.model.network.load_state_dict(stored["weights"])
    state.optimizer.load_state_dict(stored["optimizer"])
    state.epoch, state.penalty_weight = stored["epoch"], stored["penalty_weight"]


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
    an image has no mask: an image's pull on the weights depends neither on the batch size nor on how many images of
    its batch carry a mask, nor on how many processes or slices the batch is shared among. CE sees the augmented
    image, P the original one; each has its own backward pass. With ``class_balance: loss``, CE_i is weighted by its
    class. Returns means over images: ``train_loss`` (unweighted CE, nats), ``penalty``
    (unweighted, over penalised images), ``penalised_fraction`` of the images, and ``penalty_weight``, lambda.
    Raises DivergedError, and what ``feedback`` raises.
    """
    model, optimizer, accelerator = state.model, state.optimizer, state.accelerator
    sums = np.zeros(3)  # CE; penalty; penalised images
    model.train()
    with _seeded(seed, state.epoch), in_eval(model, _BatchNorm) if freeze_batchnorm else nullcontext():
        in_loss, order = _balanced(images.labels, settings, feedback.times() if feedback else None)
        own = [share(batch, accelerator) for batch in order]
        draws = [torch.rand(len(batch), DRAWS)[share(list(range(len(batch))), accelerator)] for batch in order]
        loaded = loading.batches(images.pixels, own, draws, settings.augment, accelerator.device)
        quiet = not sys.stdout.isatty()  # a log gets a line an epoch, not a bar
        for batch, mine, x in zip(track(order, f"epoch {state.epoch + 1}", disable=quiet), own, loaded, strict=True):
            optimizer.zero_grad()
            for part in _slices(len(mine), settings.slices):
                labels = images.labels[mine][part].to(accelerator.device)
                with accelerator.autocast():
                    logits = model(as_input(state, x[part]))
                ce = cross_entropy(logits.float(), labels, reduction="none")
                accelerator.backward((ce * in_loss.to(ce)[labels]).sum() / len(batch))
                sums[0] += float(ce.detach().sum())
            if feedback and (plan := feedback.plan(model, batch)):
                places = share(list(range(len(plan.images))), accelerator)
                for part in _slices(len(places), settings.slices):
                    terms = feedback.terms(model, plan, places[part])
                    if terms.requires_grad:  # all but those of the form as-published
                        accelerator.backward(plan.weight * terms.sum() / len(batch))
                    sums[1:] += float(terms.detach().sum()), len(terms)
            sum_gradients(model, accelerator)
            optimizer.step()
            if not np.isfinite(sums).all():
                raise DivergedError(
                    f"epoch {state.epoch + 1}: the loss is {sums[0]} and the penalty {sums[1]}; "
                    "lower `penalty.weight` or `train.learning_rate` in params.yaml"
                )
    ce_sum, penalty_sum, penalised = totals(sums.tolist(), accelerator)
    seen = sum(map(len, order))
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
    masks: Mapping[str, NDArray[Any]] | None,
    checkpoint_dir: Path | None = None,
) -> pd.DataFrame:
    """Some epochs on ``data["train"]``, each followed by a reading of every other split.

    ``masks`` are those in force, W (S, S) by image id, and None in the baseline. The penalty sees BatchNorm
    with its running statistics, which lag behind weights that it moves fast, so that an epoch may look worse
    than its weights are. ``batchnorm: moving`` leaves it at that, as the paper does; ``settled`` averages the
    statistics anew after each epoch; ``frozen`` does so in the baseline and keeps them from then on.

    ``checkpoint_dir``: after each epoch what it came to is stored in this folder (`checkpoint_dir`), and the same
    call in another process goes on from there, to the same weights.

    Returns the history, one row an epoch: ``step`` (what the epoch belongs to: ``start``, a round, an arm),
    ``epoch``, what ``train_epoch`` returns, and ``<split>_<metric>`` for each split.
    """
    batchnorm = settings.train.batchnorm
    frozen = batchnorm == "frozen" and masks is not None
    feedback = feedback_on(state, data["train"], settings.penalty, masks) if masks else None
    rows: list[dict[str, Any]] = []
    path = None
    if checkpoint_dir:
        path = checkpoints.place(checkpoint_dir, state.model, masks, settings, seed, state.epoch, epochs, step)
    if path and (stored := checkpoints.read(path)):
        rows = stored["rows"]
        _go_back_to(state, stored)
        if feedback:
            feedback.steps, feedback.weight = stored["steps"], stored["penalty_weight"]
        print(f"{step}: going on after epoch {state.epoch}, where it was interrupted", flush=True)
    for _ in range(epochs - len(rows)):
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
        if path and state.accelerator.is_main_process:
            steps = feedback.steps if feedback else 0
            networks.write({**_document(state), "rows": rows, "steps": steps}, path)
    return pd.DataFrame(rows)


def settle_batchnorm(state: State, images: Images) -> None:
    """Set BatchNorm's statistics to plain averages over the un-augmented images."""
    starts = share(list(range(0, len(images.ids), SCORING_BATCH)), state.accelerator)
    batches = (as_input(state, as_tensor(images.pixels[start : start + SCORING_BATCH])) for start in starts)
    update_bn(batches, state.model)
    average_buffers(state.model, len(starts), state.accelerator)


def logits(state: State, pixels: Rows | NDArray[np.uint8]) -> Tensor:
    """Logits (N, C) of (N, S, S, 3) un-augmented images in eval mode, on the CPU."""
    state.model.eval()
    own = positions(len(pixels), state.accelerator)
    size = SCORING_BATCH
    if state.accelerator.device.type == "cpu":
        size = min(size, max(1, CPU_PIXELS // pixels[:1].shape[1] ** 2))
    with torch.inference_mode(), state.accelerator.autocast():
        batches = (pixels[own[start : start + size]] for start in range(0, len(own), size))
        found = [state.model(as_input(state, as_tensor(batch))).float() for batch in batches]
    return gathered(torch.cat(found), len(pixels), state.accelerator)


def as_input(state: State, images: Tensor) -> Tensor:
    """(B, 3, S, S) float in 0..1 → the network's normalised input, on its device."""
    return state.model.normalise(images.to(state.accelerator.device, memory_format=torch.channels_last))


def feedback_on(state: State, images: Images, settings: Penalty, masks: Mapping[str, NDArray[Any]]) -> Feedback | None:
    """The masks of some epochs on these images, as the settings spend on them; None where they change nothing."""
    if settings.weight == 0 and settings.oversample == 1:
        return None
    weight = state.penalty_weight if settings.weight == "auto" else settings.weight

    def originals(some: list[int]) -> Tensor:
        return as_input(state, as_tensor(images.pixels[some]))

    classes = len(state.model.classes)
    return Feedback(masks, settings, weight, images.ids, images.labels, classes, originals)


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


def _slices(count: int, parts: int) -> list[slice]:
    """0..count - 1 in so many parts or fewer, none of them empty."""
    each = -(-count // parts) or 1
    return [slice(start, start + each) for start in range(0, count, each)]


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed * 100_003 + epoch)  # a prime apart: no two (seed, epoch) pairs meet
        yield
