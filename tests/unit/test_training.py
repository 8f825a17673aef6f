"""Training: deterministic, resumable between epochs, and moved by the masks."""

import numpy as np
import pytest
import torch

from pipeline import model, training
from pipeline.config import Augment, Backbone, Penalty, QuerySettings, Scenario, Train
from pipeline.training import DivergedError, Images

SIZE, CLASSES = 32, ["left", "right"]
SETTINGS = Train(
    baseline_epochs=1,
    learning_rate=0.001,
    batch_size=4,
    freeze_batchnorm=False,
    augment=Augment(flip=False, rotate_degrees=10.0, crop=0.1, brightness=0.1),
)
PENALTY = Penalty(form="share", output="logits", weight=10.0)
SCENARIO = Scenario(
    dataset="x",
    fraction=1.0,
    init="x",
    train=SETTINGS,
    penalty=PENALTY,
    query=QuerySettings(strategy="entropy", cell=8, proposals=4),
)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)
    return Images([f"image-{i}" for i in range(12)], pixels, torch.arange(12) % 2)


@pytest.fixture
def masks(images):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:16] = True
    return dict.fromkeys(images.ids[:6], mask)


def fresh() -> training.State:
    backbone = model.pretrained("x", Backbone(architecture="tf_efficientnet_lite0", weights="random"), seed=0)
    torch.manual_seed(0)
    return training.begin(model.build(backbone, CLASSES), SETTINGS)


def epoch(state, images, **kwargs):
    return training.train_epoch(state, images, SETTINGS, seed=0, **{"freeze_batchnorm": False, **kwargs})


def test_the_same_seed_is_the_same_bytes_and_a_restored_state_goes_on_as_if_nothing_happened(tmp_path, images, masks):
    straight = fresh()
    rows = [epoch(straight, images, masks=masks, penalised=PENALTY) for _ in range(2)]
    training.save(straight, tmp_path / "straight.pt")

    interrupted = fresh()
    again = [epoch(interrupted, images, masks=masks, penalised=PENALTY)]
    training.save(interrupted, tmp_path / "half-way.pt")
    torch.manual_seed(99)  # whatever else a process did before
    resumed = training.restore(tmp_path / "half-way.pt", SETTINGS)
    assert resumed.epoch == 1
    again.append(epoch(resumed, images, masks=masks, penalised=PENALTY))
    training.save(resumed, tmp_path / "resumed.pt")

    assert rows == again
    assert (tmp_path / "straight.pt").read_bytes() == (tmp_path / "resumed.pt").read_bytes()


def test_masks_change_the_training_and_an_arm_without_penalty_ignores_them(images, masks):
    plain, ignoring, masked = fresh(), fresh(), fresh()
    without = epoch(plain, images)
    assert epoch(ignoring, images, masks=masks) == without
    row = epoch(masked, images, masks=masks, penalised=PENALTY)
    assert row["masked_fraction"] == 0.5
    assert 0 < row["penalty"] < 1
    assert without["masked_fraction"] == without["penalty"] == 0
    same, other = plain.model.network.state_dict(), masked.model.network.state_dict()
    assert any(not torch.equal(same[key], other[key]) for key in same)


def test_the_network_learns_to_look_away(images, masks):
    shares = {}
    for name, penalised in (("hitl", PENALTY), ("automated", None)):
        state = fresh()
        for _ in range(6):
            epoch(state, images, masks=masks, penalised=penalised, freeze_batchnorm=True)
        x = training.as_input(state, training.as_tensor(images.pixels[:6]))
        w = torch.from_numpy(np.stack([masks[i] for i in images.ids[:6]]))
        state.model.eval()
        shares[name] = float(training.penalty(state.model, x, w, "share", "logits").detach().mean())
    assert shares["hitl"] < 0.8 * shares["automated"]


def test_frozen_batchnorm_keeps_its_statistics(images):
    frozen, moving = fresh(), fresh()
    epoch(frozen, images, freeze_batchnorm=True)
    epoch(moving, images)
    assert torch.equal(frozen.model.network.bn1.running_mean, torch.zeros(32))
    assert not torch.equal(moving.model.network.bn1.running_mean, torch.zeros(32))


def test_statistics_to_be_frozen_are_settled_on_the_training_images(images):
    train = SETTINGS.model_copy(update={"freeze_batchnorm": True, "batch_size": 12})
    settings = SCENARIO.model_copy(update={"train": train})
    state = fresh()
    data = {"train": images, "val": images}
    training.train(state, data, settings, 0, 1, "start", masks=None)
    x = training.as_input(state, training.as_tensor(images.pixels))
    stem = state.model.network.conv_stem(x).mean(dim=(0, 2, 3)).detach()
    assert torch.allclose(state.model.network.bn1.running_mean, stem, atol=1e-5)
    frozen = state.model.network.bn1.running_mean.clone()
    training.train(state, data, settings, 0, 1, "00", masks={})
    assert torch.equal(state.model.network.bn1.running_mean, frozen)


def test_the_network_sees_the_augmented_image_and_the_penalty_the_original(images, masks, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "penalty", lambda m, x, w, *_: seen.append(x.clone()) or m(x).square().sum(dim=1))
    state = fresh()
    epoch(state, images, masks=masks, penalised=PENALTY)
    originals = training.as_input(state, training.as_tensor(images.pixels[:6]))
    assert sum(len(batch) for batch in seen) == 6
    for image in torch.cat(seen):
        assert any(torch.equal(image, original) for original in originals)


def test_a_loss_that_is_no_number_stops_with_the_setting_to_change(images):
    state = fresh()
    state.model.network.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"penalty\.weight"):
        epoch(state, images)


def test_history_has_a_row_an_epoch_and_a_column_a_reading(images):
    state = fresh()
    data = {"train": images, "val": images, "test-shifted": images}
    history = training.train(state, data, SCENARIO, 0, 2, "00", masks={})
    assert history["epoch"].tolist() == [1, 2]
    assert history["step"].tolist() == ["00", "00"]
    assert {"train_loss", "penalty", "val_loss", "val_accuracy", "test-shifted_accuracy"} <= set(history.columns)
    scores = training.logits(state, images.pixels)
    assert history["val_accuracy"].iloc[-1] == pytest.approx(float((scores.argmax(1) == images.labels).float().mean()))


def test_augmentation_off_is_the_image_itself_and_on_is_drawn_anew(images):
    off = Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0)
    original = training.as_tensor(images.pixels)
    assert torch.equal(training._augmented(images.pixels, off), original)
    everything = Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1)
    one, two = training._augmented(images.pixels, everything), training._augmented(images.pixels, everything)
    assert one.shape == original.shape
    assert not torch.equal(one, two)
