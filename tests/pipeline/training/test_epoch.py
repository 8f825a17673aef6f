"""An epoch refuses labels and networks from which nothing can be learned, before it changes anything."""

import pytest
import torch
from fakes import small

from pipeline.errors import NetworkError
from pipeline.training import states
from pipeline.training.epoch import draw_batches, train_epoch


@pytest.fixture
def state():
    return states.begin(small.network(["a", "b"]), small.TRAIN)


def epoch(state, images):
    return train_epoch(state, images, small.TRAIN, seed=0, freeze_batchnorm=False)


@pytest.mark.parametrize("wrong", [-100, -1, 2])
def test_labels_that_are_no_class_are_refused(state, wrong):
    images = small.images(4)
    images.labels[3] = wrong
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    with pytest.raises(ValueError, match=rf"labels must be class numbers from 0 to 1, but there is {wrong}\. Fix: "):
        epoch(state, images)
    assert all(torch.equal(before[key], value) for key, value in state.model.state_dict().items())


def test_a_single_logit_is_refused():
    images = small.images(4)
    images.labels[:] = 0
    with pytest.raises(ValueError, match="cross-entropy and metrics need two logits or more"):
        epoch(states.begin(small.network(["a"]), small.TRAIN), images)


def test_a_frozen_network_is_refused(state):
    state.model.requires_grad_(False)
    with pytest.raises(NetworkError, match=r"no weight of Classifier learns\. Fix: set `requires_grad_\(True\)`"):
        epoch(state, small.images(4))


def test_findings_are_learned_by_their_binary_cross_entropy():
    images = small.findings(8)
    state = states.begin(small.network(["a", "b"], findings=True), small.TRAIN)
    losses = [epoch(state, images)["train_loss"] for _ in range(12)]
    assert losses[0] == pytest.approx(0.693, abs=0.2)
    assert losses[-1] < losses[0]


def test_findings_may_be_balanced(monkeypatch):
    images, seen = small.findings(8), []
    images.labels[:6] = 0
    state = states.begin(small.network(["a", "b"], findings=True), small.TRAIN)
    losses = type(state.model.task).losses
    monkeypatch.setattr(
        type(state.model.task), "losses", lambda task, *given: seen.append(given[2:]) or losses(task, *given)
    )
    settings = small.TRAIN.model_copy(update={"class_balance": "loss"})
    train_epoch(state, images, settings, seed=0, freeze_batchnorm=False)
    weights = torch.cat([given[0] for given in seen if given])
    assert weights.shape == (8, 2)
    assert weights.unique().numel() > 1


def test_labels_of_classes_are_refused_by_a_network_for_findings():
    with pytest.raises(ValueError, match="labels of findings must be 0 or 1"):
        epoch(states.begin(small.network(["a", "b"], findings=True), small.TRAIN), small.images(4))


def test_a_state_of_findings_comes_back_as_one(tmp_path):
    state = states.begin(small.network(["a", "b"], findings=True), small.TRAIN)
    states.save(state, tmp_path / "state.pt")
    assert states.restore(tmp_path / "state.pt", small.TRAIN).model.findings
    assert "findings" not in states.document(states.begin(small.network(["a", "b"]), small.TRAIN))


def test_images_with_findings_are_not_drawn_by_class():
    settings = small.TRAIN.model_copy(update={"class_balance": "sampler"})
    with pytest.raises(ValueError, match=r"`class_balance: sampler` needs one class an image\. Fix: "):
        draw_batches(small.findings(4).labels[:, :1], settings, None)
