"""A small real problem, decoy-digits, for figures that need a network that has learnt something."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Augment, Backbone, Penalty, QuerySettings, Scenario, Train
from pipeline.data.loading import Images
from pipeline.models.backbones import pretrained
from pipeline.models.classifier import build
from pipeline.sources import decoy_digits
from pipeline.training import states
from pipeline.training.states import State

SIZE, COUNT = 64, 192  # pixels a side; images of a split
TRAIN = Train(
    baseline_epochs=4,
    learning_rate=3e-4,
    batch_size=16,
    batchnorm="settled",
    augment=Augment(flip=False, rotate_degrees=10.0, crop=0.1, brightness=0.1),
)
SHARE = Penalty(form="share", output="logits", weight=10.0)
SCENARIO = Scenario(
    dataset="decoy-digits",
    fraction=1.0,
    init="",
    train=TRAIN,
    penalty=SHARE,
    query=QuerySettings(strategy="entropy", cell=8, proposals=10),
)


@cache
def images(split: str, count: int = COUNT) -> Images:
    """Return the first digits of a split."""
    items = [item for item in decoy_digits.items(SIZE) if item.split == split][:count]
    labels = torch.tensor([decoy_digits.CLASSES.index(item.label) for item in items])
    return Images([item.name for item in items], np.stack([item.image for item in items]), labels)


@cache
def masks(share: float, count: int = COUNT) -> dict[str, NDArray[np.bool_]]:
    """Return masks of everything but the digit, on this share of the training images."""
    items = [item for item in decoy_digits.items(SIZE) if item.split == "train"][: round(share * count)]
    return {item.name: ~item.evidence for item in items if item.evidence is not None}


def begin(seed: int) -> State:
    """Return EfficientNet-Lite0 with its ImageNet weights, before any training on digits."""
    weights = pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed)
    torch.manual_seed(seed)
    return states.begin(build(weights, decoy_digits.CLASSES), TRAIN)
