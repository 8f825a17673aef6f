"""The last layer fitted anew: it finds the minimum, keeps the labels' shares, and changes nothing else."""

import numpy as np
import pytest
import torch
from fakes import killed, small

from pipeline.config import FeedbackSettings, Refit
from pipeline.data.loading import Images
from pipeline.errors import PipelineError
from pipeline.feedback.counterexamples import Counterexamples
from pipeline.training import inference, states, trainer
from pipeline.training.refit import _balanced, _fitted, refit

ON = FeedbackSettings(form="counterexamples", refit=Refit(draws=2))
OFF = FeedbackSettings(form="counterexamples")


def train(data, feedback, masks, *, layers="all", epochs=2, folder=None):
    settings = small.scenario(feedback, layers=layers)
    state = states.begin(small.network(["a", "b"]), settings.train)
    trainer.train(state, data, settings, seed=0, epochs=epochs, step="00", masks=masks, checkpoint_dir=folder)
    return state


def weights(state, *, head):
    prefix = state.model.network.pretrained_cfg["classifier"]
    stored = state.model.network.state_dict().items()
    return torch.cat([value.flatten().float() for key, value in stored if key.startswith(prefix) == head])


def test_the_fit_minimises_the_penalised_loss():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(3, 2, (60, 5)), rng.integers(0, 3, 60)
    features[:, 0] += 2 * labels
    weight, bias = _fitted(features, labels, decay=0.1)
    scale, mean = torch.from_numpy(features.std(axis=0)), torch.from_numpy(features.mean(axis=0))
    w = (torch.from_numpy(weight) * scale).requires_grad_()
    b = (torch.from_numpy(bias) + torch.from_numpy(weight) @ mean).requires_grad_()
    logits = (torch.from_numpy(features) - mean) / scale @ w.T + b
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)) + 0.05 * w.square().sum()
    for gradient in torch.autograd.grad(loss, [w, b]):
        assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
def test_the_intercepts_give_the_labels_shares(shares):
    logits = np.random.default_rng(0).normal(1, 3, (200, len(shares)))
    logits[:, 0] += 4
    moved = torch.from_numpy(logits + _balanced(logits, np.array(shares)))
    assert moved.softmax(dim=1).mean(dim=0).tolist() == pytest.approx(shares, abs=1e-4)


def test_only_the_last_layer_changes(data, masks):
    fitted, plain = train(data, ON, masks), train(data, OFF, masks)
    assert torch.equal(weights(fitted, head=False), weights(plain, head=False))
    assert not torch.equal(weights(fitted, head=True), weights(plain, head=True))
    shares = inference.logits(fitted, data["train"].pixels).softmax(dim=1).mean(dim=0)
    assert shares.tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_marks_have_an_effect_and_the_same_call_gives_the_same_weights(data, masks):
    marked = train(data, ON, masks)
    assert torch.equal(weights(marked, head=True), weights(train(data, ON, masks), head=True))
    settings = ON.refit
    unmarked = train(data, ON, masks)
    unmarked.epoch = marked.epoch
    refit(unmarked, data["train"], settings, augment=small.AUGMENT, feedback=None, seed=0)
    assert not torch.equal(weights(marked, head=True), weights(unmarked, head=True))
    again = Counterexamples(masks, ON, data["train"])
    refit(unmarked, data["train"], settings, augment=small.AUGMENT, feedback=again, seed=0)
    assert torch.equal(weights(marked, head=True), weights(unmarked, head=True))


def test_with_the_head_alone_all_other_layers_keep_weights_and_statistics(data, masks):
    before = states.begin(small.network(["a", "b"]), small.scenario(ON).train)
    for feedback in (OFF, ON, FeedbackSettings()):  # counterexamples, refit, and the penalty
        after = train(data, feedback, masks, layers="head")
        assert torch.equal(weights(after, head=False), weights(before, head=False))
        assert not torch.equal(weights(after, head=True), weights(before, head=True))
    assert len(after.optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize("layers", ["all", "head"])
def test_killed_between_epochs_it_ends_in_the_same_weights(data, masks, layers, tmp_path, monkeypatch):
    straight = train(data, ON, masks, layers=layers, epochs=3)
    killed.in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(data, ON, masks, layers=layers, epochs=3, folder=tmp_path)
    resumed = train(data, ON, masks, layers=layers, epochs=3, folder=tmp_path)
    for head in (True, False):
        assert torch.equal(weights(resumed, head=head), weights(straight, head=head))


def test_a_network_without_a_linear_last_layer_is_refused(data):
    state = states.begin(small.network(["a", "b"]), small.TRAIN)
    state.model.network.classifier = torch.nn.Sequential(state.model.network.classifier)
    with pytest.raises(PipelineError, match="last layer is linear, and test_efficientnet ends in Sequential"):
        refit(state, data["train"], Refit(), augment=small.AUGMENT, feedback=None, seed=0)


def test_refit_needs_counterexamples():
    with pytest.raises(ValueError, match="`refit` would undo the penalty"):
        FeedbackSettings(refit=Refit())


def test_one_finding_is_fitted_as_two_classes_are(data, masks):
    as_findings = {split: Images(images.ids, images.pixels, images.labels[:, None]) for split, images in data.items()}
    settings = small.scenario(ON, layers="head")
    fitted = []
    for images, network in (
        (data, small.network(["a", "b"])),
        (as_findings, small.network(["b"], findings=True)),
    ):
        state = states.begin(network, settings.train)
        refit(state, images["train"], Refit(draws=2), augment=small.AUGMENT, feedback=None, seed=0)
        fitted.append(inference.logits(state, images["train"].pixels))
    assert torch.allclose(fitted[0][:, 1] - fitted[0][:, 0], fitted[1][:, 0], atol=1e-4)
    assert fitted[1].sigmoid().mean() == pytest.approx(0.5, abs=1e-3)
