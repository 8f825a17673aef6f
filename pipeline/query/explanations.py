"""What a network in training looks at: its un-augmented images explained as the settings say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import Explain
from pipeline.data.loading import as_tensor
from pipeline.errors import ConfigError
from pipeline.query.attribution import attribute, blurred, plain
from pipeline.training import trainer
from pipeline.training.distributed import gathered, positions


def explain(state: trainer.State, pixels: NDArray[np.uint8], target: Tensor, settings: Explain) -> NDArray[np.float32]:
    """Signed saliency (B, S, S) of (B, S, S, 3) images for the classes ``target`` (B,); processes share the images."""
    own = positions(len(pixels), state.accelerator)
    images = as_tensor(pixels[own])
    if settings.reference == "blur":
        reference = blurred(images, settings.blur_sigma, settings.blur_reach)
    else:
        colours: dict[str, float | Tensor] = {"white": 1.0, "black": 0.0, "mean": state.model.mean.to(images)}
        reference = plain(images, colours[settings.reference])
    x, x0 = trainer.as_input(state, images), trainer.as_input(state, reference)
    saliency = attribute(state.model, x, x0, target[own].to(x.device), settings.method)
    result: NDArray[np.float32] = gathered(saliency, len(pixels), state.accelerator).numpy()
    return result


def targets(settings: Explain, classes: list[str], logits: Tensor, labels: Tensor) -> Tensor:
    """The class numbers (N,) to explain images for, given their (N, C) logits and (N,) labels.

    Raises ConfigError on a class that is not among ``classes``.
    """
    if settings.target == "predicted":
        return logits.argmax(dim=1)
    if settings.target == "true":
        return labels
    if settings.target not in classes:
        raise ConfigError(
            f"query.explain.target: no class {settings.target!r}; choose predicted, true, "
            f"or one of {', '.join(classes)}"
        )
    return labels.new_full(labels.shape, classes.index(settings.target))
