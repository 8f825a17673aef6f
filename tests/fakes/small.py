"""A small network at its first step, and random images: the start of many tests."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.config import Augment, Backbone, FeedbackSettings, Penalty, QuerySettings, Scenario, Train
from pipeline.data.loading import Images
from pipeline.models import backbones, classifier

SIZE = 32  # side of the images, pixels
TRAIN = Train(
    baseline_epochs=1,
    learning_rate=0.001,
    batch_size=4,
    batchnorm="moving",
    augment=Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0),
)
AUGMENT = Augment(flip=True, rotate_degrees=10.0, crop=0.1, brightness=0.1)


def images(count: int) -> Images:
    """Random images of two classes in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Images([f"image-{n}" for n in range(count)], pixels, torch.arange(count) % 2)


def findings(count: int) -> Images:
    """Random images of two findings: each image has one of them, none, or both."""
    numbers = torch.arange(count)
    return Images(images(count).ids, images(count).pixels, torch.stack([numbers % 2, numbers // 2 % 2], dim=1))


def network(
    classes: list[str], architecture: str = "test_efficientnet", *, findings: bool = False
) -> classifier.Classifier:
    """A network with random weights, the same at each call."""
    weights = backbones.pretrained("x", Backbone(architecture=architecture, weights="random"), seed=0)
    torch.manual_seed(0)
    return classifier.build(weights, classes, findings=findings)


def scenario(feedback: FeedbackSettings, **train) -> Scenario:
    """A scenario with this feedback, with augmentation, and with these settings of its training."""
    return Scenario(
        dataset="x",
        fraction=1.0,
        init="x",
        train=TRAIN.model_copy(update={"augment": AUGMENT, **train}),
        penalty=Penalty(form="share", output="logits", weight=10.0),
        feedback=feedback,
        query=QuerySettings(strategy="entropy", cell=8, proposals=4),
    )


def upper_half_masked(images: Images, count: int) -> dict[str, np.ndarray]:
    """Masks of the upper half of the first ``count`` images."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[: SIZE // 2] = 1
    return dict.fromkeys(images.ids[:count], mask)
