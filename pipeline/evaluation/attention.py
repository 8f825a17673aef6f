"""Where a network looks, in numbers: inside the regions that experts marked, and on the evidence.

What is penalised is the input gradient, so that a gradient-based measure alone would flatter the penalty: each
number also comes from explainers that nothing was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.config import Explain
from pipeline.data.loading import Images, as_tensor
from pipeline.feedback.penalty import penalty
from pipeline.query.explanations import explain
from pipeline.training import trainer
from pipeline.training.trainer import State

Area = Literal["marked", "evidence"]
Method = Literal["deeplift", "integrated-gradients", "grad-cam"]
QUICK: tuple[Method, ...] = ("deeplift", "grad-cam")
METHODS: tuple[Method, ...] = (*QUICK, "integrated-gradients")
LOOKED_AT = 12  # images; integrated gradients takes 50 forward and backward passes an image
AT_ONCE = 6


def share_inside(saliency: NDArray[np.floating[Any]], weights: NDArray[np.floating[Any]]) -> float:
    """The share, 0..1, of the absolute attention (S, S) inside W (S, S); 0 where there is no attention at all."""
    size = np.abs(saliency, dtype=np.float64)
    return float((size * weights).sum() / (size.sum() or 1.0))


def points_inside(saliency: NDArray[np.floating[Any]], area: NDArray[np.bool_]) -> bool:
    """Whether the place that speaks most for the class, in signed saliency (S, S), lies in the area (S, S).

    The pointing game of Zhang et al. 2018, *Top-down neural attention by excitation backprop*. In place of its
    tolerance of 15 pixels, saliency is averaged over neighbourhoods of a 16th of the side.
    """
    smooth = ndimage.gaussian_filter(saliency.astype(np.float64), sigma=len(saliency) / 32)
    return bool(area[np.unravel_index(smooth.argmax(), smooth.shape)])


def measure(
    state: State,
    images: Images,
    areas: Mapping[str, NDArray[Any]],
    what: Area,
    settings: Explain,
    methods: tuple[Method, ...] = QUICK,
) -> dict[str, float]:
    """How much of the attention lies in some images' areas, W (S, S) by image id: means over the first few of them.

    ``<what>_<explainer>``: the share of the absolute saliency for the true class, and ``<what>_gradient``: of the
    energy of the predicted logit's gradient, sum W g^2 / sum g^2, all 0..1. Of ``evidence`` also
    ``pointing_<explainer>``: the share of images where the most salient place is in it. Nothing without areas.
    """
    chosen = [n for n, image_id in enumerate(images.ids) if image_id in areas and areas[image_id].any()][:LOOKED_AT]
    found: dict[str, list[float]] = {}
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        w = np.stack([areas[images.ids[n]] for n in some]).astype(np.float32)
        labels, pixels = images.labels[some], images.pixels[some]
        x = trainer.as_input(state, as_tensor(pixels))
        shares = penalty(state.model, x, torch.from_numpy(w).to(x), "share", "predicted").detach()
        found.setdefault(f"{what}_gradient", []).extend(shares.tolist())
        for method in methods:
            maps = explain(state, pixels, labels, settings.model_copy(update={"method": method}))
            shares_inside = [share_inside(m, area) for m, area in zip(maps, w, strict=True)]
            found.setdefault(f"{what}_{method}", []).extend(shares_inside)
            if what == "evidence":
                points = [float(points_inside(m, area > 0)) for m, area in zip(maps, w, strict=True)]
                found.setdefault(f"pointing_{method}", []).extend(points)
    return {name: float(np.mean(values)) for name, values in found.items()}
