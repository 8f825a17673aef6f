"""MaskTune: masks without experts, on what the network itself looks at most in each training image.

Asgari et al. 2022, *MaskTune: Mitigating Spurious Correlations by Forcing to Explore*,
https://arxiv.org/abs/2210.00055: after training, they hide the pixels whose saliency exceeds the image's mean by two
standard deviations, and train one more epoch. Departures: Grad-CAM without a final ReLU explains the predicted class,
where they have xGradCAM; and the scenario's own form of feedback hides the pixels, where they set these to zero. So the
arm differs from `hitl` in its places alone.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pipeline.config import Explain
from pipeline.data.loading import Images
from pipeline.feedback.masks import Entry
from pipeline.query.explanations import explain
from pipeline.training.inference import logits
from pipeline.training.states import State

DEVIATIONS = 2.0
AT_ONCE = 16  # images


def masktune(state: State, images: Images, *, round: str) -> list[Entry]:
    """Return a mask for each training image, on its most salient pixels.

    Args:
        state: The network after training without feedback.
        images: The training images.
        round: The round in which the masks begin to hold.
    """
    explained = state.model.task.explained(logits(state, images.pixels))
    names = [state.model.classes[number] if state.model.findings else "" for number in explained.tolist()]
    found = []
    starts = range(0, len(images.ids), AT_ONCE)
    for start in track(starts, "MaskTune", disable=not sys.stdout.isatty()):
        some = slice(start, start + AT_ONCE)
        saliency = explain(state, images.pixels[some], target=explained[some], settings=Explain(method="grad-cam"))
        for image_id, of_image, name in zip(images.ids[some], saliency, names[some], strict=True):
            found.append(_entry(round, image_id, of_image, name))
    return found


def _entry(round: str, image_id: str, saliency: NDArray[np.float32], finding: str = "") -> Entry:
    area = saliency > saliency.mean() + DEVIATIONS * saliency.std()
    return Entry.of(round, image_id, area, np.zeros(area.shape, bool), finding=finding)
