"""Epochs that are done stay done: a stage that was killed while training goes on from its last whole epoch.

A checkpoint's name says all that the epochs follow from, so that one of other settings, masks or weights is never
taken up. They lie outside of the stages' outputs, which DVC deletes before a stage runs again, and stay until the
stage is done: an arm of many rounds goes through those that it had done without training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline import model as networks

FOLDER = Path(".dvc/tmp/checkpoints")


def place(network: nn.Module, masks: Mapping[str, NDArray[Any]] | None, *given: object) -> Path:
    """Where the checkpoint of training this network, with these masks and whatever else is given, lies."""
    digest = hashlib.sha256(repr(given).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    for image_id, mask in sorted((masks or {}).items()):
        digest.update(image_id.encode() + np.ascontiguousarray(mask).tobytes())
    return FOLDER / f"{digest.hexdigest()[:24]}.pt"


def read(path: Path) -> dict[str, Any] | None:
    """What was stored there, if anything."""
    return networks.read(path) if path.exists() else None


def clear() -> None:
    """Forget all of them, once a stage's outputs are written; only one stage at a time trains in a folder."""
    for path in FOLDER.glob("*"):
        path.unlink()
