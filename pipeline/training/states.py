"""A network in training, with its optimizer: made, saved, restored."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.config import Train
from pipeline.errors import naming_damage
from pipeline.models import classifier, files, outputs
from pipeline.models.classifier import Classifier
from pipeline.training.distributed import join

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class State:
    """A network in training after ``epoch`` epochs, on the accelerator's device.

    ``penalty_weight`` is the lambda chosen by `weight: auto`; None until the first masked step.
    """

    accelerator: Accelerator
    model: Classifier
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    penalty_weight: float | None = None


def begin(model: Classifier, settings: Train) -> State:
    """Return the state before the first epoch: the network and a fresh Adam, the paper's optimizer."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    accelerator = join(settings.precision)
    model.to(accelerator.device)
    model.learn(settings.layers)
    optimizer = torch.optim.Adam(outputs.learning(model), lr=settings.learning_rate, fused=True)
    return State(accelerator, model, accelerator.prepare_optimizer(optimizer))


def save(state: State, path: Path) -> None:
    """Store the state; equal states give equal bytes."""
    files.write(document(state), path)


def restore(path: Path, settings: Train) -> State:
    """Return the state that ``save`` stored, ready to train on; raises DamagedFileError where it cannot be read."""
    stored = files.read(path)
    with naming_damage(path):
        model = classifier.build(stored, stored["classes"], findings=bool(stored.get("findings")))
    state = begin(model, settings)
    with naming_damage(path):
        rewind(state, stored)
    return state


def document(state: State) -> dict[str, Any]:
    """Return everything of the state that is stored: tensors and plain values."""
    return {
        "architecture": state.model.architecture,
        "classes": state.model.classes,
        **({"findings": True} if state.model.findings else {}),
        **({"size": state.model.size} if state.model.size else {}),
        "weights": {key: value.cpu() for key, value in state.model.network.state_dict().items()},
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "penalty_weight": state.penalty_weight,
    }


def rewind(state: State, stored: dict[str, Any]) -> None:
    """Set the state to a stored document of the same network."""
    state.model.network.load_state_dict(stored["weights"])
    state.optimizer.load_state_dict(stored["optimizer"])
    state.epoch, state.penalty_weight = operator.index(stored["epoch"]), stored["penalty_weight"]
