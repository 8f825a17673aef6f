"""The masks in force in a step of training: which images are penalised, how, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.config import Penalty
from pipeline.feedback.check import Check, DeadPenaltyError, check
from pipeline.feedback.form import FormOfFeedback, PenalisedStep
from pipeline.feedback.penalty import penalty
from pipeline.models import tasks
from pipeline.models.modes import in_eval

BALANCED_OVER = 32  # masked images from which `weight: auto` sets lambda


@dataclass
class Feedback(FormOfFeedback):
    """The masks in force during one run of epochs, and how the penalty is spent on them.

    With `every` and `sample`, fewer images are penalised. The weight makes up for the others, so that the expected
    gradient stays the same.

    Attributes:
        masks: W (S, S), bool or 0..1, by image id.
        settings: The section `penalty` of the scenario.
        weight: Lambda. None until `weight: auto` sets it at the first masked step; 0 for `oversample` alone.
        ids: The ids of the training images (N).
        labels: Their class numbers (N,), or 0 and 1 for each finding (N, k).
        classes: The number of classes C.
        originals: Returns the normalised images without augmentation (n, 3, S, S) at some positions of ``ids``.
        steps: The number of steps so far.
        first_check: The check at the first masked step; None before.
        findings: The number of the finding (N,) that the mask of each image belongs to; None for classes.
    """

    masks: Mapping[str, NDArray[Any]]
    settings: Penalty
    weight: float | None
    ids: list[str]
    labels: Tensor
    classes: int
    originals: Callable[[list[int]], Tensor]
    steps: int = 0
    first_check: Check | None = None
    findings: Tensor | None = None

    def occurrences(self) -> Tensor:
        """Return how often each image occurs in an epoch, (N,)."""
        return torch.tensor([self.settings.oversample if i in self.masks else 1 for i in self.ids])

    def next_step(self, model: nn.Module, batch: list[int]) -> PenalisedStep | None:
        """Return the images of a batch that the next step penalises; None where there is none.

        The first masked step also checks that the penalty is alive, chooses the route, and sets lambda for
        `weight: auto`. Each process gets the whole batch and returns the same step.

        Raises:
            DeadPenaltyError: The penalty reaches no weight.
            NumericalError: A tensor of the penalty is infinite or NaN.
        """
        self.steps += 1
        masked = [i for i in batch if self.ids[i] in self.masks]
        if not masked or (self.steps - 1) % self.settings.every or self.weight == 0:
            return None
        chosen = masked
        if self.settings.sample and self.settings.sample < len(masked):
            order = torch.randperm(len(masked))[: self.settings.sample]
            chosen = [masked[i] for i in order.sort().values.tolist()]
        # The form as-published is dead on purpose: there is nothing to check or balance.
        if self.first_check is None and self.settings.form != "as-published":
            self._begin(model, masked)
        directions = torch.randn(len(chosen), self.classes) if self.settings.output == "projection" else None
        weight = (self.weight or 0.0) * self.settings.every * len(masked) / len(chosen)
        return PenalisedStep(chosen, weight, directions)

    def penalties(self, model: nn.Module, step: PenalisedStep, places: list[int]) -> Tensor:
        """Return the penalties (n,) of a step's images at some places of ``step.images``."""
        directions = None if step.draws is None else step.draws[places]
        return self._penalties(model, [step.images[place] for place in places], directions)

    def _begin(self, model: nn.Module, masked: list[int]) -> None:
        """Check the penalty on a batch's masked images, and set lambda for `weight: auto`."""
        x = self.originals(masked)
        self.first_check = check(
            model,
            x,
            self._w(masked).to(x),
            form=self.settings.form,
            output=self.settings.output,
            labels=self.labels[masked].to(x.device),
            finding=self._finding(masked),
        )
        if self.weight is None:
            self.weight = self._balanced_weight(model)
        route = "fast" if self.first_check.fast else "exact, because the fast route disagrees on this network"
        print(
            f"penalty: {len(self.masks)} images with a mask, gradient norm {self.first_check.norm:.3g}, "
            f"lambda {self.weight:.3g}, route {route} (cosine {self.first_check.cosine:.6f})",
            flush=True,
        )

    def _balanced_weight(self, model: nn.Module) -> float:
        """Return the lambda at which the penalty of masked images is now ``ratio`` times their cross-entropy."""
        some = [i for i, image_id in enumerate(self.ids) if image_id in self.masks][:BALANCED_OVER]
        with in_eval(model), torch.no_grad():
            task = tasks.of(self.labels)
            ce = task.loss(model(self.originals(some)).float().cpu(), self.labels[some])
        mean = float(self._penalties(model, some).detach().mean())
        if not mean:
            raise DeadPenaltyError("the penalty is 0, so `weight: auto` finds no lambda. Fix: set `penalty.weight`")
        return self.settings.ratio * float(ce) / mean

    def _penalties(self, model: nn.Module, some: list[int], directions: Tensor | None = None) -> Tensor:
        x = self.originals(some)
        return penalty(
            model,
            x,
            self._w(some).to(x),
            form=self.settings.form,
            output=self.settings.output,
            labels=self.labels[some].to(x.device),
            finding=self._finding(some),
            fast=self.first_check is not None and self.first_check.fast,
            direction=directions,
        )

    def _finding(self, some: list[int]) -> Tensor | None:
        return None if self.findings is None else self.findings[some]

    def _w(self, some: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([self.masks[self.ids[i]] for i in some]))
