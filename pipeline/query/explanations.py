"""Saliency of a network in training, on images without augmentation, as the settings say."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.choices import nearest
from pipeline.config import Explain
from pipeline.data.loading import as_tensor
from pipeline.errors import ConfigError
from pipeline.models import tasks
from pipeline.query.attribution import attribute
from pipeline.query.references import blurred, plain
from pipeline.training import inference
from pipeline.training.distributed import gathered, positions
from pipeline.training.states import State


def explain(
    state: State, pixels: NDArray[np.uint8], *, target: Tensor, settings: Explain, limited: bool = False
) -> NDArray[np.float32]:
    """Return the signed saliency of images for some classes; several processes share the images.

    Args:
        state: The network in training.
        pixels: Images (B, S, S, 3).
        target: Class numbers (B,).
        settings: The section `query.explain` of the scenario.
        limited: Whether the setting `limit` holds, as for all explanations that experts judge.

    Returns:
        Saliency (B, S, S).

    Raises:
        IncompleteError: An explanation misses more of the output's difference than `limit`.
        NumericalError: The saliency is infinite or NaN.
    """
    own = positions(len(pixels), state.accelerator)
    images = as_tensor(pixels[own])
    if settings.reference == "blur":
        reference = blurred(images, sigma=settings.blur_sigma, reach=settings.blur_reach)
    else:
        colours: dict[str, float | Tensor] = {"white": 1.0, "black": 0.0, "mean": state.model.mean.to(images)}
        reference = plain(images, colours[settings.reference])
    x, x0 = inference.as_input(state, images), inference.as_input(state, reference)
    saliency = attribute(
        state.model,
        x,
        x0,
        target=target[own].to(x.device),
        method=settings.method,
        limit=settings.limit if limited else None,
    )
    together: NDArray[np.float32] = gathered(saliency, len(pixels), state.accelerator).numpy()
    return together


def targets(logits: Tensor, labels: Tensor, *, classes: list[str], settings: Explain) -> Tensor:
    """Return the class or finding to explain each image for; of findings, the least certain one is `predicted`.

    Args:
        logits: The images' logits (N, C).
        labels: Their class numbers (N,), or 0 and 1 for each finding (N, k).
        classes: The classes' names.
        settings: The section `query.explain` of the scenario.

    Returns:
        Class numbers (N,).

    Raises:
        ConfigError: ``settings.target`` is not a class of the data set.
    """
    task = tasks.of(labels)
    if settings.target == "predicted":
        return task.explained(logits)
    if settings.target == "true" and not task.findings:
        return labels
    if settings.target not in classes:
        raise ConfigError(
            f"params.yaml: `query.explain.target` is {settings.target!r}, but the data set has no such class. "
            f"Fix: {nearest(settings.target, ('predicted', 'true', *classes))}choose `predicted`, `true`, or one of "
            f"{', '.join(classes)}"
        )
    return torch.full((len(labels),), classes.index(settings.target))
