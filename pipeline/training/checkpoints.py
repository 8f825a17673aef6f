"""Resume a killed training after its last whole epoch.

The name of a checkpoint is a digest of everything that its epochs depend on: the weights they started from, masks,
settings. A checkpoint of other settings is therefore never resumed. Checkpoints stay until the stage, or an
experiment's cell, has written its outputs: an arm of many rounds passes through the rounds that are done.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.feedback.form import FormOfFeedback
from pipeline.models import files
from pipeline.training.states import State, document, rewind

FOLDER = Path(".dvc/tmp/checkpoints")  # of stages: not an output, since DVC deletes outputs before a stage runs again


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one call of ``train``; without a path, nothing is stored or resumed."""

    path: Path | None

    @classmethod
    def of(
        cls, folder: Path | None, state: State, masks: Mapping[str, NDArray[Any]] | None, *given: object
    ) -> Checkpoint:
        """Return the checkpoint, in ``folder``, of training this network with these masks and everything else given."""
        return cls(folder / f"{_digest(state.model, masks, given)}.pt" if folder else None)

    def resume(self, state: State, feedback: FormOfFeedback | None) -> list[dict[str, Any]]:
        """Set state and feedback to the last stored epoch, if there is one; return the history so far."""
        if not self.path or not self.path.exists():
            return []
        stored = files.read(self.path)
        rewind(state, stored)
        if feedback:
            feedback.steps, feedback.weight = stored["steps"], stored["penalty_weight"]
        rows: list[dict[str, Any]] = stored["rows"]
        print(f"{rows[-1]['step']}: resuming after epoch {state.epoch}", flush=True)
        return rows

    def store(self, state: State, feedback: FormOfFeedback | None, rows: list[dict[str, Any]]) -> None:
        """Store the state after an epoch, with the history so far; of several processes, the first one stores."""
        if self.path and state.accelerator.is_main_process:
            steps = feedback.steps if feedback else 0
            files.write({**document(state), "rows": rows, "steps": steps}, self.path)


def clear(folder: Path) -> None:
    """Delete all checkpoints of a folder, once the outputs that they led to are written."""
    shutil.rmtree(folder, ignore_errors=True)


def _digest(network: nn.Module, masks: Mapping[str, NDArray[Any]] | None, given: tuple[object, ...]) -> str:
    digest = hashlib.sha256(repr(given).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    for image_id, mask in sorted((masks or {}).items()):
        digest.update(image_id.encode() + np.ascontiguousarray(mask).tobytes())
    return digest.hexdigest()[:24]
