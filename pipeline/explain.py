"""What a network in training looks at: DeepLIFT of un-augmented images against their blurred copies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline import training
from pipeline.attribution import blurred, deeplift
from pipeline.config import ConfigError

INCOMPLETE = 0.01  # share of the output's difference that the attributions may miss


def explain(state: training.State, pixels: NDArray[np.uint8], target: Tensor) -> NDArray[np.float32]:
    """Signed saliency (B, S, S) of (B, S, S, 3) images for the classes ``target`` (B,).

    Raises ConfigError when the attributions do not add up, since they would then explain another
    network than this one.
    """
    images = training.as_tensor(pixels)
    x, reference = training.as_input(state, images), training.as_input(state, blurred(images))
    saliency, error = deeplift(state.model, x, reference, target.to(x.device))
    if float(error.max()) > INCOMPLETE:
        raise ConfigError(
            f"DeepLIFT misses {float(error.max()):.1%} of the output's difference on "
            f"{state.model.architecture!r}: it has an operation without a rule (pipeline/attribution.py); "
            "choose an EfficientNet under `backbones`"
        )
    result: NDArray[np.float32] = saliency.cpu().numpy()
    return result
