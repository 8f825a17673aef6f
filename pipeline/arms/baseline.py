"""The baseline: training without feedback, from which every other arm starts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from pipeline.config import Scenario
from pipeline.data.loading import Images
from pipeline.models import classifier
from pipeline.training import states, trainer
from pipeline.training.states import State


def train_baseline(
    images: dict[str, Images],
    settings: Scenario,
    classes: list[str],
    *,
    seed: int,
    checkpoint_dir: Path | None = None,
) -> tuple[State, pd.DataFrame]:
    """Train from the scenario's initial weights, without masks.

    Args:
        images: The images of each split.
        settings: The scenario's settings; ``init`` names the initial weights.
        classes: Class names, in the order of the logits.
        seed: Seeds the new classification layer, and order and augmentation of the epochs.
        checkpoint_dir: Where epochs are stored to be resumed; None stores none.

    Returns:
        The state after the last epoch, and the history, one row per epoch.
    """
    torch.manual_seed(seed)
    state = states.begin(classifier.initial(settings.init, classes), settings.train)
    history = trainer.train(
        state,
        images,
        settings,
        seed=seed,
        epochs=settings.train.baseline_epochs,
        step="start",
        masks=None,
        checkpoint_dir=checkpoint_dir,
    )
    return state, history
