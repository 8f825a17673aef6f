"""A small real problem for measurements that need a network that has learnt something: decoy-digits."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Augment, Backbone, Penalty, QuerySettings, Scenario, Train
from pipeline.data.loading import Images
from pipeline.models.classifier import build, pretrained
from pipeline.sources import decoy_digits
from pipeline.training import trainer
from pipeline.training.trainer import State

SIZE, COUNT = 64, 192  # pixels a side; training images
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
def images(split: str) -> Images:
    """The digits of a split; of train, the first few."""
    items = [item for item in decoy_digits.items(SIZE) if item.split == split][:COUNT]
    labels = torch.tensor([decoy_digits.CLASSES.index(item.label) for item in items])
    return Images([item.name for item in items], np.stack([item.image for item in items]), labels)


@cache
def masks(share: float) -> dict[str, NDArray[np.bool_]]:
    """Everything but the digit, on this share of the training images."""
    items = [item for item in decoy_digits.items(SIZE) if item.split == "train"][: round(share * COUNT)]
    return {item.name: ~item.evidence for item in items if item.evidence is not None}


def begin(seed: int) -> State:
    """EfficientNet-Lite0 with its ImageNet weights, not trained on digits yet."""
    weights = pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed)
    torch.manual_seed(seed)
    return trainer.begin(build(weights, decoy_digits.CLASSES), TRAIN)
