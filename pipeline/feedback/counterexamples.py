"""Counterexamples: training images with other content in their marked areas, so that nothing can be learned there.

x~ = (1 - W) x + W f, where f fills the marked area:

- ``another``: the same place of another training image, drawn anew each time the image is read. Its content then
  says nothing about the label;
- ``surround``: the image's own colours around the area;
- ``blur``: the image itself, blurred until the area shows its mean colours only;
- ``noise``: noise with the image's own mean and deviation.

After Teso and Kersting 2019, *Explanatory Interactive Machine Learning* (CAIPI), https://arxiv.org/abs/1805.08578, who
add counterexamples beside the originals; CutMix (Yun et al. 2019, https://arxiv.org/abs/1905.04899) fills rectangles
from another image and mixes the labels as well. Departures: masks also come from spreading, the label stays, and by
default (`share: 1`) the original of a masked image is never read: a network that still sees the shortcut on originals
continues to use it.

With `consistency`, the loss also has KL(f(x) ‖ f(x~)) of a masked image, so that what the mask hides changes no
prediction (Zhang et al. 2019, *TRADES*, https://arxiv.org/abs/1901.08573, for adversarial twins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.choices import Fill
from pipeline.config import FeedbackSettings
from pipeline.data.loading import Images, as_tensor
from pipeline.errors import PipelineError
from pipeline.feedback.form import DRAWS, FormOfFeedback, PenalisedStep
from pipeline.models import tasks
from pipeline.models.modes import in_eval

REACH = 0.25  # sigma of the blur of ``surround`` and ``blur``, share of the side


class DeadFeedbackError(PipelineError):
    """The masks change no image, so training would ignore them."""


@dataclass
class Counterexamples(FormOfFeedback):
    """The counterexamples of the training images with a mask.

    Attributes:
        masks: W (S, S), 0..1, by image id.
        settings: The section `feedback` of the scenario.
        images: The training images.
        as_input: Returns the network's normalised input for images (B, 3, S, S) in 0..1; for `consistency` only.
    """

    masks: Mapping[str, NDArray[Any]]
    settings: FeedbackSettings
    images: Images
    as_input: Callable[[Tensor], Tensor] | None = None
    steps: int = 0
    replaces = True

    def __post_init__(self) -> None:
        self.weight = self.settings.consistency or None

    def next_step(self, model: nn.Module, batch: list[int]) -> PenalisedStep | None:
        """Return the batch's masked images where their predictions must agree with their counterexamples'."""
        masked = [i for i in batch if self.images.ids[i] in self.masks]
        if not self.weight or not masked:
            return None
        return PenalisedStep(masked, self.weight, torch.rand(len(masked), DRAWS))

    def penalties(self, model: nn.Module, step: PenalisedStep, places: list[int]) -> Tensor:
        """Return KL(f(x) ‖ f(x~)), (n,), of originals and counterexamples without augmentation, in eval mode."""
        assert step.draws is not None
        assert self.as_input
        some, draws = [step.images[place] for place in places], step.draws[places]
        draws[:, 0] = 0  # always the counterexample
        originals = as_tensor(self.images.pixels[some])
        with in_eval(model):
            read = (self.as_input(x) for x in (originals, self.replace(originals, some, draws)))
            return tasks.of(self.images.labels).divergence(*(model(x).float() for x in read))

    def replace(self, originals: Tensor, some: list[int], draws: Tensor) -> Tensor:
        """Return a batch in which counterexamples stand for masked images.

        An image's counterexample depends on the image, its mask and its own draws alone.

        Args:
            originals: Images without augmentation, (B, 3, S, S) in 0..1.
            some: Their positions in the training images.
            draws: Uniform numbers, (B, DRAWS).
        """
        chosen = [
            n
            for n, i in enumerate(some)
            if self.images.ids[i] in self.masks and float(draws[n, 0]) < self.settings.share
        ]
        if not chosen:
            return originals
        x, drawn = originals[chosen], draws[chosen, 1]
        w = torch.from_numpy(np.stack([self.masks[self.images.ids[some[n]]] for n in chosen])).to(x)
        w = softened(w, self.settings.edge)[:, None]
        filled = originals.clone()
        filled[chosen] = (1 - w) * x + w * FILLS[self.settings.fill](self, x, w, [some[n] for n in chosen], drawn)
        return filled

    def check(self) -> None:
        """Raise DeadFeedbackError if no mask changes its image; raise nothing if some do."""
        masked = [n for n, image_id in enumerate(self.images.ids) if image_id in self.masks]
        for n in masked:
            original = as_tensor(self.images.pixels[[n]])
            changed = self.replace(original, [n], torch.tensor([[0.0, 0.5]])) != original
            if changed.any():
                return
        raise DeadFeedbackError(
            f"the masks of {len(masked)} images change no pixel, so the experts' answers would change nothing. "
            "Fix: check that the masks belong to the scenario's training images, or choose another `feedback.fill`"
        )


def softened(w: Tensor, edge: float) -> Tensor:
    """Return masks (B, S, S) that fall to 0 at their border, over ``edge`` of the side; they grow nowhere."""
    if edge == 0:
        return w
    near = _blurred((w > 0).to(w)[:, None], edge / 2)[:, 0]  # 0.5 at a straight border
    return w * (2 * near - 1).clamp(0, 1)


def _another(feedback: Counterexamples, x: Tensor, w: Tensor, some: list[int], drawn: Tensor) -> Tensor:
    count = len(feedback.images.ids)
    # One of all other images, at equal chances.
    others = [(i + 1 + min(int(u * (count - 1)), count - 2)) % count for i, u in zip(some, drawn.tolist(), strict=True)]
    return as_tensor(feedback.images.pixels[others]).to(x.device)


def _surround(feedback: Counterexamples, x: Tensor, w: Tensor, some: list[int], drawn: Tensor) -> Tensor:
    """Average the unmarked pixels, the near ones most; an image that is all marked has its mean colour."""
    inside, known = _blurred((1 - w) * x, REACH), _blurred(1 - w, REACH)
    mean = x.mean(dim=(2, 3), keepdim=True)
    return torch.where(known > 1e-3, inside / known.clamp(min=1e-3), mean)


def _blur(feedback: Counterexamples, x: Tensor, w: Tensor, some: list[int], drawn: Tensor) -> Tensor:
    return _blurred(x, REACH)


def _noise(feedback: Counterexamples, x: Tensor, w: Tensor, some: list[int], drawn: Tensor) -> Tensor:
    mean, deviation = x.mean(dim=(2, 3), keepdim=True), x.std(dim=(2, 3), keepdim=True)
    normal = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(int(u * 2**24))) for u in drawn.tolist()]
    return (mean + deviation * torch.stack(normal).to(x)).clamp(0, 1)


FILLS: dict[Fill, Callable[[Counterexamples, Tensor, Tensor, list[int], Tensor], Tensor]] = {
    "another": _another,
    "surround": _surround,
    "blur": _blur,
    "noise": _noise,
}


def _blurred(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (B, C, S, S), one direction after the other; ``sigma`` is a share of the side."""
    from torchvision.transforms.v2.functional import gaussian_blur  # late: it takes as long as torch

    size = maps.shape[-1]
    kernel = max(3, min(2 * round(2 * sigma * size) + 1, 2 * (size // 2) - 1))  # odd, and narrower than the image
    across = gaussian_blur(maps, [kernel, 1], [sigma * size, 1.0])
    return gaussian_blur(across, [1, kernel], [1.0, sigma * size])
