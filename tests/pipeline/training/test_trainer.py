"""Training: deterministic, resumable between epochs, and moved by the masks."""

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from fakes import killed, small

from pipeline.config import Augment, Penalty, QuerySettings, Scenario
from pipeline.data.loading import as_tensor
from pipeline.feedback import spending
from pipeline.feedback.check import Check
from pipeline.feedback.penalty import penalty
from pipeline.models import classifier
from pipeline.training import checkpoints, inference, states, trainer
from pipeline.training.epoch import DivergedError, train_epoch

SIZE, CLASSES = small.SIZE, ["left", "right"]
SETTINGS = small.TRAIN.model_copy(
    update={"augment": Augment(flip=False, rotate_degrees=10.0, crop=0.1, brightness=0.1)}
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
    return small.images(12)


@pytest.fixture
def masks(images):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:16] = True
    return dict.fromkeys(images.ids[:6], mask)


def fresh_model() -> classifier.Classifier:
    return small.network(CLASSES)


def fresh() -> states.State:
    return states.begin(fresh_model(), SETTINGS)


def epoch(state, images, masks=None, penalised=PENALTY, freeze_batchnorm=False):
    spending = trainer.feedback_on(state, images, penalised, masks) if masks else None
    return train_epoch(state, images, SETTINGS, seed=0, freeze_batchnorm=freeze_batchnorm, feedback=spending)


@pytest.mark.slow
def test_the_same_seed_is_the_same_bytes_and_a_restored_state_goes_on_as_if_nothing_happened(tmp_path, images, masks):
    straight = fresh()
    rows = [epoch(straight, images, masks) for _ in range(2)]
    states.save(straight, tmp_path / "straight.pt")

    interrupted = fresh()
    again = [epoch(interrupted, images, masks)]
    states.save(interrupted, tmp_path / "half-way.pt")
    torch.manual_seed(99)  # whatever else a process did before
    resumed = states.restore(tmp_path / "half-way.pt", SETTINGS)
    assert resumed.epoch == 1
    again.append(epoch(resumed, images, masks))
    states.save(resumed, tmp_path / "resumed.pt")

    assert rows == again
    assert (tmp_path / "straight.pt").read_bytes() == (tmp_path / "resumed.pt").read_bytes()


@pytest.mark.slow
def test_killed_between_epochs_it_goes_on_to_the_same_bytes(tmp_path, images, masks, monkeypatch, capsys):
    folder = tmp_path / "checkpoints"
    settings = SCENARIO.model_copy(update={"penalty": PENALTY.model_copy(update={"every": 2})})
    data = {"train": images, "val": images}

    def train(epochs=3, **changes):
        state = fresh()
        given = settings.model_copy(update=changes)
        history = trainer.train(
            state, data, given, seed=0, epochs=epochs, step="00", masks=masks, checkpoint_dir=folder
        )
        states.save(state, tmp_path / "state.pt")
        return history, (tmp_path / "state.pt").read_bytes()

    straight, weights = train()
    checkpoints.clear(folder)
    calls = killed.in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train()
    train(fraction=0.5)  # another run's checkpoint is not taken up
    assert len(calls) == 6
    capsys.readouterr()
    again, same = train()
    assert len(calls) == 7
    assert "resuming after epoch 2" in capsys.readouterr().out
    assert same == weights
    pd.testing.assert_frame_equal(again, straight)
    checkpoints.clear(folder)
    assert not folder.exists()


def test_masks_change_the_training_and_an_arm_without_penalty_ignores_them(images, masks):
    plain, ignoring, masked = fresh(), fresh(), fresh()
    without = epoch(plain, images)
    assert epoch(ignoring, images, masks, PENALTY.model_copy(update={"weight": 0.0})) == without
    row = epoch(masked, images, masks)
    assert row["penalised_fraction"] == 0.5
    assert 0 < row["penalty"] < 1
    assert without["penalised_fraction"] == without["penalty"] == 0
    same, other = plain.model.network.state_dict(), masked.model.network.state_dict()
    assert any(not torch.equal(same[key], other[key]) for key in same)


@pytest.mark.parametrize("form", ["eq2", "share"])
def test_where_half_of_the_experts_marked_the_penalty_is_half_as_large(images, masks, form):
    soft = {image_id: (0.5 * mask).astype(np.float32) for image_id, mask in masks.items()}
    settings = PENALTY.model_copy(update={"form": form})
    terms = {}
    for name, given in (("hard", masks), ("soft", soft)):
        state = fresh()
        found = trainer.feedback_on(state, images, settings, given)
        step = found.next_step(state.model, [0, 1, 7])
        assert step.images == [0, 1], "image 7 has no mask"
        terms[name] = found.penalties(state.model, step, [0, 1]).detach()
    torch.testing.assert_close(terms["soft"], terms["hard"] / 2)
    assert epoch(fresh(), images, soft)["penalty"] > 0


@pytest.mark.slow
def test_the_network_learns_to_look_away(images, masks):
    shares = {}
    for name, given in (("hitl", masks), ("automated", None)):
        state = fresh()
        for _ in range(6):
            epoch(state, images, given, freeze_batchnorm=True)
        x = inference.as_input(state, as_tensor(images.pixels[:6]))
        w = torch.from_numpy(np.stack([masks[i] for i in images.ids[:6]]))
        state.model.eval()
        shares[name] = float(penalty(state.model, x, w, form="share", output="logits").detach().mean())
    assert shares["hitl"] < 0.8 * shares["automated"]


def test_frozen_batchnorm_keeps_its_statistics(images):
    frozen, moving = fresh(), fresh()
    epoch(frozen, images, freeze_batchnorm=True)
    epoch(moving, images)
    assert not frozen.model.network.bn1.running_mean.any()
    assert moving.model.network.bn1.running_mean.any()


@pytest.mark.parametrize("batchnorm", ["settled", "frozen"])
def test_statistics_are_settled_on_the_training_images(images, batchnorm):
    train = SETTINGS.model_copy(update={"batchnorm": batchnorm, "batch_size": 12})
    settings = SCENARIO.model_copy(update={"train": train})
    state = fresh()
    data = {"train": images, "val": images}
    trainer.train(state, data, settings, seed=0, epochs=1, step="start", masks=None)
    x = inference.as_input(state, as_tensor(images.pixels))
    stem = state.model.network.conv_stem(x).mean(dim=(0, 2, 3)).detach()
    assert torch.allclose(state.model.network.bn1.running_mean, stem, atol=1e-5)
    frozen = state.model.network.bn1.running_mean.clone()
    trainer.train(state, data, settings, seed=0, epochs=1, step="00", masks={})
    assert torch.equal(state.model.network.bn1.running_mean, frozen) == (batchnorm == "frozen")
    stem = state.model.network.conv_stem(x).mean(dim=(0, 2, 3)).detach()
    assert torch.allclose(state.model.network.bn1.running_mean, stem, atol=1e-5) == (batchnorm == "settled")


def test_the_network_sees_the_augmented_image_and_the_penalty_the_original(images, masks, monkeypatch):
    seen = []
    alive = Check(norm=1.0, cosine=1.0, fast=True)
    monkeypatch.setattr(spending, "check", lambda *_, **__: alive)
    monkeypatch.setattr(spending, "penalty", lambda m, x, *_, **__: seen.append(x.clone()) or m(x).square().sum(dim=1))
    state = fresh()
    epoch(state, images, masks)
    originals = inference.as_input(state, as_tensor(images.pixels[:6]))
    assert sum(len(batch) for batch in seen) == 6
    for image in torch.cat(seen):
        assert any(torch.equal(image, original) for original in originals)


@pytest.mark.parametrize("batchnorm", ["frozen", "moving", "settled"])
def test_the_penalty_as_published_trains_as_if_there_were_no_masks(tmp_path, images, masks, batchnorm):
    plain, dead = fresh(), fresh()
    data = {"train": images, "val": images}
    settings = SCENARIO.model_copy(update={"train": SETTINGS.model_copy(update={"batchnorm": batchnorm})})
    trainer.train(plain, data, settings, seed=0, epochs=2, step="00", masks={})
    published = settings.model_copy(update={"penalty": PENALTY.model_copy(update={"form": "as-published"})})
    history = trainer.train(dead, data, published, seed=0, epochs=2, step="00", masks=masks)
    assert (history["penalty"] > 0).all(), "it has a value, to be looked at"
    for name, state in (("plain", plain), ("dead", dead)):
        state.penalty_weight = None
        states.save(state, tmp_path / name)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "dead").read_bytes()


def test_a_loss_that_is_no_number_stops_with_the_setting_to_change(images):
    state = fresh()
    state.model.network.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"penalty\.weight"):
        epoch(state, images)


def test_history_has_a_row_an_epoch_and_a_column_a_reading(images):
    state = fresh()
    data = {"train": images, "val": images, "test-shifted": images}
    history = trainer.train(state, data, SCENARIO, seed=0, epochs=2, step="00", masks={})
    assert history["epoch"].tolist() == [1, 2]
    assert history["step"].tolist() == ["00", "00"]
    assert {"train_loss", "penalty", "val_loss", "val_accuracy", "test-shifted_accuracy"} <= set(history.columns)
    scores = inference.logits(state, images.pixels)
    assert history["val_accuracy"].iloc[-1] == pytest.approx(float((scores.argmax(1) == images.labels).float().mean()))


def test_lambda_that_sets_itself_balances_both_terms_once_and_is_kept(tmp_path, images, masks):
    auto = PENALTY.model_copy(update={"weight": "auto", "ratio": 0.5})
    state = fresh()
    state.model.eval()
    some = [i for i, image_id in enumerate(images.ids) if image_id in masks]
    x = inference.as_input(state, as_tensor(images.pixels[some]))
    w = torch.from_numpy(np.stack([masks[images.ids[i]] for i in some]))
    ce = torch.nn.functional.cross_entropy(state.model(x), images.labels[some])
    expected = (
        0.5 * float(ce.detach()) / float(penalty(state.model, x, w, form="share", output="logits").detach().mean())
    )

    row = epoch(state, images, masks, auto, freeze_batchnorm=True)
    assert row["penalty_weight"] == state.penalty_weight
    assert row["penalty_weight"] == pytest.approx(expected, rel=1e-4)
    states.save(state, tmp_path / "state.pt")
    resumed = states.restore(tmp_path / "state.pt", SETTINGS)
    assert epoch(resumed, images, masks, auto)["penalty_weight"] == row["penalty_weight"]


def test_slices_of_a_batch_come_to_the_same_step(images, masks):
    whole, sliced = fresh(), fresh()
    one = epoch(whole, images, masks, freeze_batchnorm=True)
    settings = SETTINGS.model_copy(update={"slices": 3})
    spending = trainer.feedback_on(sliced, images, PENALTY, masks)
    other = train_epoch(sliced, images, settings, seed=0, freeze_batchnorm=True, feedback=spending)
    assert other == pytest.approx(one, rel=1e-4)
    far = 3 * SETTINGS.learning_rate  # as three of Adam's steps go, by rounding alone where a gradient is all but zero
    with torch.no_grad():
        for a, b in zip(whole.model.parameters(), sliced.model.parameters(), strict=True):
            assert float((a - b).square().mean().sqrt()) <= 0.05 * far


def test_bf16_reads_about_the_same_and_the_penalty_stays_in_float32(images, masks, monkeypatch):
    plain = inference.logits(fresh(), images.pixels)
    AcceleratorState._reset_state()
    try:
        narrow = SETTINGS.model_copy(update={"precision": "bf16"})
        state = states.begin(fresh_model(), narrow)
        seen = []
        real = spending.penalty
        monkeypatch.setattr(spending, "penalty", lambda *given, **named: seen.append(real(*given, **named)) or seen[-1])
        found = inference.logits(state, images.pixels)
        assert found.dtype == torch.float32
        assert 0 < float((found - plain).norm() / plain.norm()) < 0.1
        row = train_epoch(
            state,
            images,
            narrow,
            seed=0,
            freeze_batchnorm=False,
            feedback=trainer.feedback_on(state, images, PENALTY, masks),
        )
        assert np.isfinite(row["train_loss"])
        assert {terms.dtype for terms in seen} == {torch.float32}
    finally:
        AcceleratorState._reset_state()


def test_the_check_of_a_run_changes_nothing_that_follows(images, masks, monkeypatch):
    plain, unchecked = fresh(), fresh()
    row = epoch(plain, images, masks)
    monkeypatch.setattr(spending, "check", lambda *_, **__: Check(norm=1.0, cosine=1.0, fast=True))
    assert epoch(unchecked, images, masks) == row
