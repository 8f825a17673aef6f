"""Every form of feedback: no effect without marks, an effect with them, the same in any slices, and resumable."""

from typing import get_args

import numpy as np
import pytest
import torch
from fakes import killed

from pipeline.choices import FeedbackForm
from pipeline.config import Augment, Backbone, FeedbackSettings, Penalty, QuerySettings, Scenario, Train
from pipeline.data.loading import Images
from pipeline.models import backbones, classifier
from pipeline.training import states, trainer

SIZE, COUNT = 32, 12
FORMS = get_args(FeedbackForm)


def scenario(form, **train):
    return Scenario(
        dataset="x",
        fraction=1.0,
        init="x",
        train=Train(
            baseline_epochs=1,
            learning_rate=0.001,
            batch_size=4,
            batchnorm="frozen",
            augment=Augment(flip=True, rotate_degrees=10.0, crop=0.1, brightness=0.1),
            **train,
        ),
        penalty=Penalty(form="share", output="logits", weight=10.0),
        feedback=FeedbackSettings(form=form),
        query=QuerySettings(strategy="entropy", cell=8, proposals=4),
    )


@pytest.fixture
def data():
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    images = Images([f"image-{n}" for n in range(COUNT)], pixels, torch.arange(COUNT) % 2)
    return {"train": images, "val": images}


@pytest.fixture
def masks(data):
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[: SIZE // 2] = 1
    return dict.fromkeys(data["train"].ids[:6], mask)


@pytest.fixture(scope="module")
def weights():
    return backbones.pretrained("x", Backbone(architecture="test_efficientnet", weights="random"), seed=0)


def train(weights, data, settings, masks, epochs=1, folder=None):
    torch.manual_seed(0)
    state = states.begin(classifier.build(weights, ["a", "b"]), settings.train)
    history = trainer.train(state, data, settings, seed=0, epochs=epochs, step="00", masks=masks, checkpoint_dir=folder)
    return history, torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


@pytest.mark.parametrize("form", FORMS)
def test_without_marks_training_is_as_without_feedback_and_with_them_it_is_not(weights, data, masks, form):
    _, plain = train(weights, data, scenario("penalty"), {})
    _, unmarked = train(weights, data, scenario(form), {})
    assert torch.equal(unmarked, plain)
    _, marked = train(weights, data, scenario(form), masks)
    assert not torch.equal(marked, plain)
    _, again = train(weights, data, scenario(form), masks)
    assert torch.equal(again, marked)


@pytest.mark.parametrize("form", FORMS)
def test_slices_of_a_batch_come_to_the_same_step(weights, data, masks, form):
    whole, one = train(weights, data, scenario(form), masks)
    sliced, two = train(weights, data, scenario(form, slices=3), masks)
    for reading in ("train_loss", "penalty", "penalised_fraction"):
        assert sliced[reading].tolist() == pytest.approx(whole[reading].tolist(), rel=1e-4)
    # By rounding alone, Adam moves a weight by up to 0.001 a step where the gradient is all but zero.
    assert float((one - two).square().mean().sqrt()) < 0.05 * 3 * 0.001


@pytest.mark.parametrize("form", FORMS)
def test_killed_between_epochs_it_ends_in_the_same_weights(weights, data, masks, form, tmp_path, monkeypatch):
    _, straight = train(weights, data, scenario(form), masks, epochs=3)
    killed.in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(weights, data, scenario(form), masks, epochs=3, folder=tmp_path)
    history, resumed = train(weights, data, scenario(form), masks, epochs=3, folder=tmp_path)
    assert len(history) == 3
    assert torch.equal(resumed, straight)
