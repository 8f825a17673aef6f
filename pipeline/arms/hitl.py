"""The arm `hitl`: training goes from round to round, with the experts' masks in force (paper, Algorithm 1)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelstudio.exchange.records import Answer, Manifest
from labelstudio.reading.verdicts import summary
from pipeline.config import Consensus, Scenario
from pipeline.data.loading import Images
from pipeline.feedback import answers as reading
from pipeline.feedback import masks, spreading
from pipeline.training import trainer
from pipeline.training.states import State


def train_round(
    state: State,
    images: dict[str, Images],
    settings: Scenario,
    *,
    manifest: Manifest,
    answers: list[Answer],
    earlier: list[masks.Entry],
    consensus: Consensus,
    seed: int,
    epochs: int,
    checkpoint_dir: Path | None = None,
    each_epoch: trainer.EachEpoch | None = None,
) -> tuple[list[masks.Entry], pd.DataFrame]:
    """Turn a round's answers into masks, spread them where the scenario says so, and train with all masks in force.

    Args:
        state: The network after the round before; it moves on by ``epochs`` epochs.
        images: The images of each split.
        settings: The scenario's settings.
        manifest: The round's queries.
        answers: The experts' answers to these queries.
        earlier: The masks of all earlier rounds.
        consensus: How several answers become one mask.
        seed: With the epoch's number, it determines order and augmentation.
        epochs: How many epochs to train.
        checkpoint_dir: Where epochs are stored to be resumed; None stores none.
        each_epoch: Called after each epoch with the round's history so far.

    Returns:
        The masks of all rounds so far, and the history of this round, one row per epoch.
    """
    entries = [*earlier, *reading.to_entries(manifest, answers, consensus)]
    if settings.feedback.spread:
        entries += spread(entries, images["train"], settings, state.model.classes, round=manifest.round)
    in_force = masks.in_force(entries)
    said = summary(answers, manifest.keys())
    print(f"{manifest.scenario}, round {manifest.round}: {said}; masks on {len(in_force)} images in force", flush=True)
    history = trainer.train(
        state,
        images,
        settings,
        seed=seed,
        epochs=epochs,
        step=manifest.round,
        masks=in_force,
        about=masks.findings(entries),
        checkpoint_dir=checkpoint_dir,
        each_epoch=each_epoch,
    )
    return entries, history


def spread(
    entries: list[masks.Entry], images: Images, settings: Scenario, classes: list[str], *, round: str
) -> list[masks.Entry]:
    """Return masks for the images that were no query, learned from all answers so far; print the skill.

    Args:
        entries: The masks of all rounds so far.
        images: The training images.
        settings: The scenario's settings.
        classes: Class names.
        round: The round in which the masks hold.
    """
    spreader = spreading.from_answers(entries, images, settings, classes)
    found = spreader.entries(round, images, asked=masks.on_copies(masks.asked(entries), images.ids))
    print(f"spreading: {spreader.skill.words()}; {len(found)} of {len(images.ids)} images reached", flush=True)
    return found
