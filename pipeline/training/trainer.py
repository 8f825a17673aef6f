"""Train for some epochs, as every arm does: see `epoch` for one epoch and `checkpoints` for resuming.

Under a launcher (`accelerate launch`, `torchrun`) the processes share each batch: see `distributed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import update_bn

from pipeline.config import Penalty, Scenario
from pipeline.data.loading import Images, as_tensor
from pipeline.feedback.counterexamples import Counterexamples
from pipeline.feedback.form import FormOfFeedback
from pipeline.feedback.masks import on_copies
from pipeline.feedback.spending import Feedback
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.distributed import average_buffers, share
from pipeline.training.epoch import train_epoch
from pipeline.training.inference import BATCH, as_input, logits
from pipeline.training.metrics import classification
from pipeline.training.refit import refit
from pipeline.training.states import State

Masks = Mapping[str, NDArray[Any]]  # image id → W (S, S)
EachEpoch = Callable[[pd.DataFrame], object]  # takes the history so far


def train(
    state: State,
    data: dict[str, Images],
    settings: Scenario,
    *,
    seed: int,
    epochs: int,
    step: str,
    masks: Masks | None,
    about: Mapping[str, str] | None = None,
    checkpoint_dir: Path | None = None,
    each_epoch: EachEpoch | None = None,
) -> pd.DataFrame:
    """Train some epochs on ``data["train"]``, and read every other split after each epoch.

    The penalty sees BatchNorm with its running statistics. These lag behind weights that the penalty moves fast, so an
    epoch may look worse than its weights are. `batchnorm: moving` accepts this, as the paper does. `settled` averages
    the statistics anew after each epoch. `frozen` does so in the baseline and keeps them from then on.

    Args:
        state: The network to train; it moves on by ``epochs`` epochs.
        data: The images of each split.
        settings: The scenario's settings. With `feedback.refit`, the last layer is fitted anew after the last epoch.
        seed: With the epoch's number, it determines order and augmentation.
        epochs: How many epochs to train.
        step: What the epochs belong to: ``start``, a round, or an arm.
        masks: The masks in force, W (S, S) by image id; they hold on all copies of an image. None in the baseline.
        about: The finding that the mask of an image belongs to, by image id; nothing for classes.
        checkpoint_dir: Where each epoch is stored. The same call in another process resumes after the last stored
            epoch and ends with the same weights. None stores nothing.
        each_epoch: Called after each epoch with the history so far; of several processes, by the first one.

    Returns:
        The history, one row per epoch: ``step``, ``epoch``, the readings of ``train_epoch``, and
        ``<split>_<metric>`` for each split.
    """
    batchnorm = settings.train.batchnorm
    frozen = batchnorm == "frozen" and masks is not None
    masks = masks and on_copies(masks, data["train"].ids)
    feedback = _feedback(state, data["train"], settings, masks, about) if masks else None
    given = [settings, seed, state.epoch, epochs, step, *([sorted(about.items())] if about else [])]
    checkpoint = Checkpoint.of(checkpoint_dir, state, masks, *given)
    rows = checkpoint.resume(state, feedback)
    for _ in range(epochs - len(rows)):
        row: dict[str, Any] = {"step": step, "epoch": state.epoch + 1}
        row |= train_epoch(state, data["train"], settings.train, seed=seed, freeze_batchnorm=frozen, feedback=feedback)
        if batchnorm != "moving" and not frozen and settings.train.layers == "all":
            settle_batchnorm(state, data["train"])
        if settings.feedback.refit and len(rows) == epochs - 1:
            refit(
                state,
                data["train"],
                settings.feedback.refit,
                augment=settings.train.augment,
                feedback=feedback,
                seed=seed,
            )
        row |= _readings(state, data)
        rows.append(row)
        print(
            f"{step}: epoch {state.epoch}, train loss {row['train_loss']:.3f}, "
            f"val loss {row['val_loss']:.3f}, val accuracy {row['val_accuracy']:.1%}",
            flush=True,
        )
        checkpoint.store(state, feedback, rows)
        if each_epoch and state.accelerator.is_main_process:
            each_epoch(pd.DataFrame(rows))
    return pd.DataFrame(rows)


def settle_batchnorm(state: State, images: Images) -> None:
    """Set BatchNorm's statistics to plain averages over the images without augmentation."""
    starts = share(list(range(0, len(images.ids), BATCH)), state.accelerator)
    batches = (as_input(state, as_tensor(images.pixels[start : start + BATCH])) for start in starts)
    update_bn(batches, state.model)
    average_buffers(state.model, len(starts), state.accelerator)


def _feedback(
    state: State, images: Images, settings: Scenario, masks: Masks, about: Mapping[str, str] | None
) -> FormOfFeedback | None:
    """Return what these masks do to training, in the scenario's form of feedback."""
    if settings.feedback.form == "penalty":
        return feedback_on(state, images, settings.penalty, masks, about)
    made = Counterexamples(masks, settings.feedback, images, lambda x: as_input(state, x))
    made.check()
    print(f"counterexamples: {len(masks)} images with a mask, filled from {settings.feedback.fill}", flush=True)
    return made


def feedback_on(
    state: State, images: Images, settings: Penalty, masks: Masks, about: Mapping[str, str] | None = None
) -> Feedback | None:
    """Return the penalty that these masks put on these images; None where the masks change nothing.

    Args:
        state: The network.
        images: The training images.
        settings: The penalty.
        masks: W (S, S) by image id.
        about: The finding that a mask belongs to, by image id; one finding alone need not be named.

    Raises:
        ValueError: With several findings, a mask belongs to none of them.
    """
    if settings.weight == 0 and settings.oversample == 1:
        return None
    weight = state.penalty_weight if settings.weight == "auto" else settings.weight

    def originals(some: list[int]) -> Tensor:
        return as_input(state, as_tensor(images.pixels[some]))

    return Feedback(
        masks=masks,
        settings=settings,
        weight=weight,
        ids=images.ids,
        labels=images.labels,
        classes=len(state.model.classes),
        originals=originals,
        findings=_findings(state, images, masks, about or {}) if state.model.findings else None,
    )


def _findings(state: State, images: Images, masks: Masks, about: Mapping[str, str]) -> Tensor:
    """Return the number of the finding (N,) that the mask of each image belongs to; 0 without a mask."""
    names = state.model.classes
    known = on_copies(about, images.ids)
    if len(names) > 1 and (lacking := [i for i in images.ids if i in masks and known.get(i) not in names]):
        raise ValueError(
            f"the masks of {len(lacking)} images belong to none of {', '.join(names)}. Fix: name a finding for each in "
            f"`about`, as for {lacking[0]}"
        )
    return torch.tensor([names.index(known[i]) if known.get(i) in names else 0 for i in images.ids])


def _readings(state: State, data: dict[str, Images]) -> dict[str, float]:
    """Return ``<split>_<metric>`` of every split but train."""
    return {
        f"{split}_{name}": value
        for split, images in data.items()
        if split != "train"
        for name, value in classification(logits(state, images.pixels), images.labels)
    }
