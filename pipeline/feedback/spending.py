"""What the masks in force do to a step of training: which images are penalised, how, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.config import Penalty
from pipeline.feedback.penalty import Check, check, in_eval, penalty

WEIGHED = 32  # masked images by which `weight: auto` sets lambda


@dataclass(frozen=True)
class Plan:
    """Which images a step penalises, what each weighs in the sum over its batch, and directions (n, C) if any."""

    images: list[int]
    weight: float
    directions: Tensor | None


@dataclass
class Feedback:
    """The masks of one run of epochs, and how the penalty is spent on them.

    ``masks`` has W (S, S), bool or 0..1, by image id; ``originals`` gives the normalised, un-augmented images
    (B, 3, S, S) at some positions of ``ids``; ``labels`` (N,) are the class numbers. ``weight`` is lambda:
    None while `weight: auto` has yet to set it, 0 where masked images only come more often. ``every`` and
    ``sample`` spend less time: what is left out is made up for by weight, so that the expected gradient stays the same.
    """

    masks: Mapping[str, NDArray[Any]]
    settings: Penalty
    weight: float | None
    ids: list[str]
    labels: Tensor
    classes: int
    originals: Callable[[list[int]], Tensor]
    steps: int = 0
    checked: Check | None = None

    def times(self) -> Tensor:
        """How often each image comes in an epoch, (N,)."""
        return torch.tensor([self.settings.oversample if i in self.masks else 1 for i in self.ids])

    def plan(self, model: nn.Module, batch: list[int]) -> Plan | None:
        """What this step penalises; None where there is nothing.

        At the first masked step, makes sure that the penalty is alive, chooses the route to it, and sets lambda if
        that is `auto`. Every process that trains plans the whole batch, and comes to the same plan.
        """
        self.steps += 1
        masked = [i for i in batch if self.ids[i] in self.masks]
        if not masked or (self.steps - 1) % self.settings.every or self.weight == 0:
            return None
        chosen = masked
        if self.settings.sample and self.settings.sample < len(masked):
            order = torch.randperm(len(masked))[: self.settings.sample]
            chosen = [masked[i] for i in order.sort().values.tolist()]
        # The form as-published has nothing alive in it to be checked or balanced.
        if self.checked is None and self.settings.form != "as-published":
            self._begin(model, masked)
        drawn = torch.randn(len(chosen), self.classes) if self.settings.output == "projection" else None
        return Plan(chosen, (self.weight or 0.0) * self.settings.every * len(masked) / len(chosen), drawn)

    def terms(self, model: nn.Module, plan: Plan, places: list[int]) -> Tensor:
        """The penalties (n,) of those of a plan's images."""
        fast = self.checked is not None and self.checked.fast
        directions = None if plan.directions is None else plan.directions[places]
        return self._penalty(model, [plan.images[place] for place in places], fast, directions)

    def _begin(self, model: nn.Module, masked: list[int]) -> None:
        x = self.originals(masked)
        w = self._w(masked).to(x)
        labels = self.labels[masked].to(x.device)
        self.checked = check(model, x, w, self.settings.form, self.settings.output, labels)
        route = "fast" if self.checked.fast else "exact: the fast one does not agree with it on this network"
        if self.weight is None:
            self.weight = self._balancing(model)
        print(
            f"penalty: {len(self.masks)} images masked, gradient norm {self.checked.norm:.3g}, "
            f"lambda {self.weight:.3g}, route {route} (cosine {self.checked.cosine:.6f})",
            flush=True,
        )

    def _balancing(self, model: nn.Module) -> float:
        """The lambda for which, now, the masked images' penalty is ``ratio`` times their cross-entropy."""
        some = [i for i, image_id in enumerate(self.ids) if image_id in self.masks][:WEIGHED]
        with in_eval(model), torch.no_grad():
            ce = cross_entropy(model(self.originals(some)).float().cpu(), self.labels[some])
        return self.settings.ratio * float(ce) / float(self._penalty(model, some, fast=True).detach().mean())

    def _penalty(self, model: nn.Module, some: list[int], fast: bool, directions: Tensor | None = None) -> Tensor:
        x, settings = self.originals(some), self.settings
        labels = self.labels[some].to(x.device)
        return penalty(model, x, self._w(some).to(x), settings.form, settings.output, labels, fast, directions)

    def _w(self, some: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([self.masks[self.ids[i]] for i in some]))
