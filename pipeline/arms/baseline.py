"""The baseline: training without feedback, from which every other arm starts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from pipeline.config import Scenario
from pipeline.data.loading import Images, as_tensor
from pipeline.errors import NetworkError
from pipeline.feedback.check import DeadPenaltyError, check
from pipeline.models import classifier, tasks
from pipeline.training import states, trainer
from pipeline.training.inference import as_input
from pipeline.training.states import State


def train_baseline(
    images: dict[str, Images],
    settings: Scenario,
    classes: list[str],
    *,
    seed: int,
    checkpoint_dir: Path | None = None,
    each_epoch: trainer.EachEpoch | None = None,
) -> tuple[State, pd.DataFrame]:
    """Train from the scenario's initial weights, without masks.

    Args:
        images: The images of each split.
        settings: The scenario's settings; ``init`` names the initial weights.
        classes: Class names, in the order of the logits.
        seed: Seeds the new classification layer, and order and augmentation of the epochs.
        checkpoint_dir: Where epochs are stored to be resumed; None stores none.
        each_epoch: Called after each epoch with the history so far.

    Returns:
        The state after the last epoch, and the history, one row per epoch.

    Raises:
        NetworkError: The network cannot be penalised.
    """
    torch.manual_seed(seed)
    findings = tasks.of(images["train"].labels).findings
    network = classifier.initial(settings.init, classes, images["train"].side, findings=findings)
    state = states.begin(network, settings.train)
    assert_usable(state, images["train"])
    history = trainer.train(
        state,
        images,
        settings,
        seed=seed,
        epochs=settings.train.baseline_epochs,
        step="start",
        masks=None,
        checkpoint_dir=checkpoint_dir,
        each_epoch=each_epoch,
    )
    return state, history


def assert_usable(state: State, images: Images) -> None:
    """Raise NetworkError if the network cannot take a masked step: one dry step on two images, which changes nothing.

    Otherwise, it would train and be explained, experts would answer, and the first masked step would fail.
    """
    name, side = state.model.architecture, images.side
    x = as_input(state, as_tensor(images.pixels[list(range(min(2, len(images.ids))))]))
    w = torch.zeros(len(x), side, side, device=x.device)
    w[:, : side // 2] = 1
    try:
        check(state.model, x, w, form="eq2", output="projection" if len(state.model.classes) > 1 else "logits")
    except DeadPenaltyError:
        pass  # a new network may be flat, and learn
    except NetworkError:
        raise
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:  # as sides that do not fit
        raise NetworkError(
            f"{name} cannot take a masked step on images of {side} x {side} pixels ({type(error).__name__}: "
            f"{str(error)[:200]}). Fix: change the data set's `size`, or choose another backbone"
        ) from error
