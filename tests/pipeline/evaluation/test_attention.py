"""Where a network looks, in numbers: by hand, and on a network that looks at one place only."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import Augment, Explain, Train
from pipeline.data.loading import Images
from pipeline.evaluation import attention
from pipeline.models.classifier import build
from pipeline.training import states

SIDE = 32


def test_the_share_of_attention_inside_an_area():
    saliency = np.array([[3.0, -1.0], [0.0, -4.0]])
    assert attention.share_inside(saliency, np.array([[1.0, 1.0], [0.0, 0.0]])) == (3 + 1) / 8
    assert attention.share_inside(saliency, np.array([[0.5, 0.0], [0.0, 1.0]])) == (1.5 + 4) / 8  # half of the experts
    assert attention.share_inside(np.zeros((2, 2)), np.ones((2, 2))) == 0


def test_the_pointing_game_goes_by_what_speaks_for_the_class_and_not_by_single_pixels():
    saliency = np.zeros((SIDE, SIDE))
    saliency[4:12, 4:12] = 1
    saliency[20:30, 20:30] = -5  # speaks against it
    saliency[16, 8] = 3  # one pixel
    area = np.zeros((SIDE, SIDE), bool)
    area[2:14, 2:14] = True
    assert attention.points_inside(saliency, area)
    assert not attention.points_inside(saliency, ~area)


class Left(nn.Module):
    """A convolutional network that sees the left half of its picture only."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        seen = self.conv(x) * (torch.arange(SIDE) < SIDE // 2)
        return self.head(torch.relu(seen).mean(dim=(2, 3)))


@pytest.fixture
def state():
    off = Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0)
    settings = Train(baseline_epochs=1, learning_rate=1e-3, batch_size=4, batchnorm="frozen", augment=off)
    torch.manual_seed(0)
    model = build({"architecture": "resnet18", "weights": {}, "classes": None} | _resnet(), ["a", "b"])
    model.network = Left()
    return states.begin(model, settings)


def _resnet():
    import timm

    return {"weights": timm.create_model("resnet18", num_classes=2).state_dict()}


def test_a_network_that_sees_the_left_half_is_found_to_look_there(state):
    pixels = np.random.default_rng(0).integers(0, 255, (5, SIDE, SIDE, 3), dtype=np.uint8)
    images = Images(list("abcde"), pixels, torch.tensor([0, 1, 0, 1, 0]))
    left = np.zeros((SIDE, SIDE), np.float32)
    left[:, : SIDE // 2 + 1] = 1  # and the column that the convolution reads from it
    areas = {"a": left, "b": left, "d": left, "elsewhere": left, "e": np.zeros_like(left)}
    found = attention.measure(
        state,
        images=images,
        areas=areas,
        name="evidence",
        settings=Explain(reference="black"),
        methods=attention.METHODS,
    )
    shares = {name: value for name, value in found.items() if name.startswith("evidence")}
    assert set(shares) == {f"evidence_{m}" for m in ("gradient", *attention.METHODS)}
    del shares["evidence_grad-cam"]  # weighs the channels of the convolution, which itself reads all of the picture
    assert all(value == pytest.approx(1, abs=1e-4) for value in shares.values())
    assert found["pointing_deeplift"] == found["pointing_integrated-gradients"] == 1

    right = {image_id: 1 - area for image_id, area in areas.items() if image_id in "abd"}
    marked = partial(attention.measure, state, images=images, name="marked", settings=Explain(reference="black"))
    other = marked(areas=right)
    assert other["marked_deeplift"] < 0.1
    assert other["marked_gradient"] < 0.1
    assert not any(name.startswith("pointing") for name in other), "where not to look is no target"
    assert marked(areas={}) == {}


def test_a_network_for_which_the_fast_formulas_are_wrong_is_measured_without_them(state, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    images = Images(["a", "b"], pixels, torch.tensor([0, 1]))
    areas = dict.fromkeys(images.ids, np.eye(SIDE, dtype=bool))
    measured = partial(attention.measure, state, images=images, areas=areas, name="marked", settings=Explain())
    right, penalty = measured(methods=()), attention.penalty
    wrong = lambda *args, fast, **named: penalty(*args, fast=fast, **named) + (0.2 if fast else 0)  # noqa: E731
    monkeypatch.setattr(attention, "penalty", wrong)
    assert measured(methods=()) == pytest.approx(right)
