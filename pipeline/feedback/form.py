"""A form of feedback: what the masks in force do to an epoch of training.

A form may change the images that the cross-entropy reads, penalise images, or both.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

DRAWS = 2  # uniform numbers for an image that is read: counterexample or original, and the filling


@dataclass(frozen=True)
class PenalisedStep:
    """The images that one step penalises.

    Attributes:
        images: Positions in the training images, (n).
        weight: The factor of the sum of their penalties over the batch.
        draws: Random numbers of each image (n, D), or None where the form needs none.
    """

    images: list[int]
    weight: float
    draws: Tensor | None


class FormOfFeedback:
    """The masks in force, as one form of feedback applies them. Each form overrides what it does.

    Attributes:
        replaces: Whether the form changes the images that the cross-entropy reads.
        weight: The factor of the penalty, lambda; None where it is not set.
        steps: The number of steps so far.
    """

    replaces: bool = False
    weight: float | None
    steps: int

    def occurrences(self) -> Tensor | None:
        """Return how often each training image occurs in an epoch, (N,); None: each one once."""
        return None

    def replace(self, originals: Tensor, some: list[int], draws: Tensor) -> Tensor:
        """Return a batch as training reads it.

        Args:
            originals: Images without augmentation, (B, 3, S, S) in 0..1.
            some: Their positions in the training images.
            draws: Uniform numbers, (B, DRAWS).
        """
        return originals

    def next_step(self, model: nn.Module, batch: list[int]) -> PenalisedStep | None:
        """Return the images of a batch that the next step penalises; None where there is none.

        Each process gets the whole batch and returns the same step.

        Raises:
            PipelineError: The penalty would change nothing, or is not finite.
        """
        return None

    def penalties(self, model: nn.Module, step: PenalisedStep, places: list[int]) -> Tensor:
        """Return the penalties (n,) of a step's images at some places of ``step.images``."""
        raise NotImplementedError
