"""Attention: how much a network looks at the regions that experts marked, and at the evidence.

The penalty is on the input gradient, so that a measure from the gradient alone would flatter the penalty.
Each number is therefore also measured with explainers that are not part of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.choices import Method, assert_known
from pipeline.config import Explain
from pipeline.data.loading import Images, as_tensor
from pipeline.feedback.check import AGREE
from pipeline.feedback.penalty import penalty
from pipeline.query.explanations import explain
from pipeline.training import inference
from pipeline.training.states import State

Area = Literal["marked", "evidence"]
QUICK: tuple[Method, ...] = ("deeplift", "grad-cam")
METHODS: tuple[Method, ...] = (*QUICK, "integrated-gradients")
LOOKED_AT = 12  # images; integrated gradients needs 50 forward and backward passes for each
AT_ONCE = 6  # images


def share_inside(saliency: NDArray[np.floating[Any]], weights: NDArray[np.floating[Any]]) -> float:
    """Return the share, 0..1, of the absolute saliency (S, S) inside W (S, S); 0 for saliency without any value."""
    size = np.abs(saliency, dtype=np.float64)
    return float((size * weights).sum() / (size.sum() or 1.0))


def points_inside(saliency: NDArray[np.floating[Any]], area: NDArray[np.bool_]) -> bool:
    """Return True if the highest signed saliency (S, S) lies in the area (S, S).

    The pointing game of Zhang et al. 2018, *Top-down neural attention by excitation backprop*. Departure: saliency
    is smoothed over a 16th of the side, in place of the paper's tolerance of 15 pixels.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(saliency.astype(np.float64), sigma=len(saliency) / 32)
    return bool(area[np.unravel_index(smooth.argmax(), smooth.shape)])


def measure(
    state: State,
    *,
    images: Images,
    areas: Mapping[str, NDArray[Any]],
    name: Area,
    settings: Explain,
    methods: tuple[Method, ...] = QUICK,
    about: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Return the mean attention inside the areas of the first `LOOKED_AT` images with an area.

    Args:
        state: The network.
        images: The images.
        areas: W (S, S), by image id.
        name: What the areas are; the names of the metrics start with it.
        settings: How images are explained.
        methods: The explainers.
        about: The finding that an area belongs to, by image id. Of other images with findings, the least certain
            finding stands for the class below.

    Returns:
        Metrics, each 0..1; none without areas. `<name>_<method>`: the share of the absolute saliency for the true
        class. `<name>_gradient`: the share of the energy of the predicted logit's gradient, sum W g² / sum g².
        For evidence also `pointing_<method>`: the share of images whose most salient place is in the area.

    Raises:
        ValueError: A word is unknown.
    """
    assert_known(name, Area, "kind of areas")
    for method in methods:
        assert_known(method, Method, "explainer")
    chosen = [n for n, image_id in enumerate(images.ids) if image_id in areas and areas[image_id].any()][:LOOKED_AT]
    found: dict[str, list[float]] = {}
    fast = True
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        w = np.stack([areas[images.ids[n]] for n in some]).astype(np.float32)
        pixels, x = images.pixels[some], inference.as_input(state, as_tensor(images.pixels[some]))
        labels = images.labels[some]
        if state.model.findings:
            labels = _findings(state, pixels, [(about or {}).get(images.ids[n]) for n in some])
        shares_of = partial(_shares, state, x, torch.from_numpy(w).to(x), labels if state.model.findings else None)
        shares = shares_of(fast=fast)
        if start == 0:
            exact = shares_of(fast=False)
            fast = torch.allclose(exact, shares, rtol=0, atol=AGREE)
            shares = shares if fast else exact  # the fast formulas do not hold for every network
        found.setdefault(f"{name}_gradient", []).extend(shares.tolist())
        for method in methods:
            maps = explain(state, pixels, target=labels, settings=settings.model_copy(update={"method": method}))
            shares_inside = [share_inside(m, area) for m, area in zip(maps, w, strict=True)]
            found.setdefault(f"{name}_{method}", []).extend(shares_inside)
            if name == "evidence":
                points = [float(points_inside(m, area > 0)) for m, area in zip(maps, w, strict=True)]
                found.setdefault(f"pointing_{method}", []).extend(points)
    return {metric: float(np.mean(values)) for metric, values in found.items()}


def _shares(state: State, x: Tensor, w: Tensor, finding: Tensor | None, *, fast: bool) -> Tensor:
    return penalty(state.model, x, w, form="share", output="predicted", finding=finding, fast=fast).detach()


def _findings(state: State, pixels: NDArray[np.uint8], names: list[str | None]) -> Tensor:
    """Return the number of each image's finding (B,): the named one, or the least certain one."""
    uncertain = state.model.task.explained(inference.logits(state, pixels)).tolist()
    pairs = zip(names, uncertain, strict=True)
    return torch.tensor([number if name is None else state.model.classes.index(name) for name, number in pairs])
