"""Epochs that are done stay done: what was killed while training goes on from its last whole epoch.

A checkpoint's name says all that the epochs follow from, so that one of other settings, masks or weights is never
taken up. They stay until the stage, or an experiment's cell, is done: an arm of many rounds goes through those that it
had done without training.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.models import classifier as networks

FOLDER = Path(".dvc/tmp/checkpoints")  # of stages: outside of their outputs, which DVC deletes before they run again


def place(folder: Path, network: nn.Module, masks: Mapping[str, NDArray[Any]] | None, *given: object) -> Path:
    """The checkpoint, in a folder, of training this network with these masks and whatever else is given."""
    digest = hashlib.sha256(repr(given).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    for image_id, mask in sorted((masks or {}).items()):
        digest.update(image_id.encode() + np.ascontiguousarray(mask).tobytes())
    return folder / f"{digest.hexdigest()[:24]}.pt"


def read(path: Path) -> dict[str, Any] | None:
    """What was stored there, if anything."""
    return networks.read(path) if path.exists() else None


def clear(folder: Path) -> None:
    """Forget all of a folder's, once what they led to is written; only one process at a time trains with a folder."""
    shutil.rmtree(folder, ignore_errors=True)
