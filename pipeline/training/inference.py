"""Read images with a network in training, without augmentation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.loading import Rows, as_tensor
from pipeline.training.distributed import gathered, positions
from pipeline.training.states import State

BATCH = 64  # images
CPU_PIXELS = 16 * 224 * 224  # in a batch on a CPU: with more, the system maps memory anew for every layer


def logits(state: State, pixels: Rows | NDArray[np.uint8]) -> Tensor:
    """Return logits (N, C) of (N, S, S, 3) images, in eval mode and on the CPU; processes share the images."""
    state.model.eval()
    own = positions(len(pixels), state.accelerator)
    size = BATCH
    if state.accelerator.device.type == "cpu":
        size = min(size, max(1, CPU_PIXELS // pixels[:1].shape[1] ** 2))
    with torch.inference_mode(), state.accelerator.autocast():
        batches = (pixels[own[start : start + size]] for start in range(0, len(own), size))
        found = [state.model(as_input(state, as_tensor(batch))).float() for batch in batches]
    return gathered(torch.cat(found), len(pixels), state.accelerator)


def as_input(state: State, images: Tensor) -> Tensor:
    """Return the network's normalised input, on its device, for (B, 3, S, S) images in 0..1."""
    return state.model.normalise(images.to(state.accelerator.device, memory_format=torch.channels_last))
