"""Refitting: after the epochs of a step, the last layer anew by logistic regression (`feedback.refit`).

Its inputs are the features of the training images as training reads them: augmented, and with other content in their
marked areas (see ``pipeline.feedback.counterexamples``). Where no masks are in force, these are the originals.

After Kirichenko, Izmailov and Wilson 2023, *Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations*, https://arxiv.org/abs/2204.02937: a network that follows a shortcut often knows the other features as
well, and its last layer alone decides. They fit that layer on images whose groups are known and balanced. Departures:
nobody knows the groups, since counterexamples make the shortcut say nothing; and the intercepts are moved until the
mean probabilities of the original images equal the labels' shares, because counterexamples are another kind of image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from pipeline.config import Augment, Refit
from pipeline.data import augmentation, loading
from pipeline.data.loading import Images, as_tensor
from pipeline.errors import PipelineError
from pipeline.feedback import form
from pipeline.feedback.form import FormOfFeedback
from pipeline.models.classifier import Classifier
from pipeline.models.modes import in_eval
from pipeline.training.distributed import gathered, positions
from pipeline.training.inference import BATCH, as_input
from pipeline.training.states import State

STEPS, CLOSE = 200, 1e-6  # of moving the intercepts: how often at most, and the largest remaining difference


def refit(
    state: State,
    images: Images,
    settings: Refit,
    *,
    augment: Augment,
    feedback: FormOfFeedback | None,
    seed: int,
) -> None:
    """Fit the last layer of a network; all other layers stay as they are.

    Args:
        state: The network; its last layer changes.
        images: The training images.
        settings: How often each image is read, and the weight decay.
        augment: The augmentation of the images.
        feedback: What the masks in force do; None reads the originals.
        seed: With the epoch's number, it determines augmentation and counterexamples.

    Raises:
        PipelineError: The network's last layer is not linear.
        ValueError: The network has several findings, of which counterexamples do not say which one they are about.
    """
    if state.model.findings and len(state.model.classes) > 1:
        raise ValueError("`refit` reads one class or one finding an image. Fix: set `feedback.refit` to off")
    head = state.model.network.get_classifier()
    if not isinstance(head, nn.Linear):
        raise PipelineError(
            f"`feedback.refit` needs a network whose last layer is linear, and {state.model.architecture} ends in "
            f"{type(head).__name__}. Fix: choose another backbone, or set `refit` to off in params.yaml"
        )
    generator = torch.Generator().manual_seed(seed * 100_003 + state.epoch)
    read = [_read(state, images, augment, feedback, generator) for _ in range(settings.draws)]
    originals = _features(state, _originals(state, images), len(images.ids))
    labels = images.labels.flatten().numpy()
    weight, bias = _fitted(np.concatenate(read), np.tile(labels, settings.draws), decay=settings.decay)
    shares = np.bincount(labels, minlength=len(bias)) / len(labels)
    bias = _balanced(originals @ weight.T + bias, shares) + bias
    if state.model.findings:  # the logits of "it is not there" and "it is there" become the logit of a finding
        weight, bias = np.diff(weight, axis=0), np.diff(bias)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    print(f"last layer fitted on {len(labels)} images, each read {settings.draws} times", flush=True)


def _read(
    state: State, images: Images, augment: Augment, feedback: FormOfFeedback | None, generator: torch.Generator
) -> NDArray[np.float64]:
    """Return the features (N, F) of all images, each read once as training reads it."""
    draws = torch.rand(len(images.ids), augmentation.DRAWS + form.DRAWS, generator=generator)
    chosen = _chosen(state, images)

    def replaced(number: int, originals: Tensor) -> Tensor:
        assert feedback
        return feedback.replace(originals, chosen[number], draws[chosen[number], augmentation.DRAWS :])

    loaded = loading.batches(
        images.pixels,
        chosen=chosen,
        draws=[draws[some, : augmentation.DRAWS] for some in chosen],
        settings=augment,
        device=state.accelerator.device,
        replace=replaced if feedback and feedback.replaces else None,
    )
    return _features(state, loaded, len(images.ids))


def _originals(state: State, images: Images) -> Iterator[Tensor]:
    yield from (as_tensor(images.pixels[some]) for some in _chosen(state, images))


def _chosen(state: State, images: Images) -> list[list[int]]:
    """Return the batches of this process, as positions of images."""
    own = positions(len(images.ids), state.accelerator)
    return [own[start : start + BATCH] for start in range(0, len(own), BATCH)]


def _features(state: State, batches: Iterator[Tensor], count: int) -> NDArray[np.float64]:
    """Return the inputs (count, F) of the last layer."""
    with in_eval(state.model), torch.inference_mode(), _inputs_of_head(state.model) as found:
        for batch in batches:
            state.model(as_input(state, batch))
    return gathered(torch.cat(found), count, state.accelerator).double().numpy()


@contextmanager
def _inputs_of_head(model: Classifier) -> Iterator[list[Tensor]]:
    """Collect what the last layer reads."""
    found: list[Tensor] = []
    hook = model.network.get_classifier().register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float()))
    try:
        yield found
    finally:
        hook.remove()


# On several cores, a problem this small takes longer, and rounds otherwise.
@threadpool_limits.wrap(limits=1, user_api="blas")
def _fitted(
    features: NDArray[np.float64], labels: NDArray[np.int64], *, decay: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight (C, F) and bias (C,) that minimise the mean CE + decay / 2 |weight of scaled features|²."""
    from sklearn.linear_model import LogisticRegression  # late: scikit-learn takes a second to import
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(features)
    model = LogisticRegression(C=1 / (decay * len(labels)), max_iter=1000).fit(scale.transform(features), labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # two classes: scikit-learn returns the difference of their logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scale.scale_
    return weight, bias - weight @ scale.mean_


def _balanced(logits: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what to add to the logits (N, C) so that the mean probabilities equal these shares (C,)."""
    added = np.zeros(len(shares))
    for _ in range(STEPS):
        moved = logits + added
        probabilities = np.exp(moved - moved.max(axis=1, keepdims=True))
        mean = (probabilities / probabilities.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(mean - shares).max() < CLOSE:
            break
        added += np.log(shares / mean)
    return added - added.mean()
