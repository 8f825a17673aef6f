"""The classifier: a head that starts ignorant, the backbone's own preprocessing, gradients for the penalty."""

import math

import pytest
import timm
import torch
from fakes import small

from pipeline.config import Backbone
from pipeline.feedback.check import assert_alive
from pipeline.feedback.penalty import penalty
from pipeline.models import backbones, classifier

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def lite0():
    return backbones.pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed=0)


def test_the_first_loss_is_that_of_a_network_that_knows_nothing(lite0):
    for classes in (["no", "yes"], CLASSES):
        torch.manual_seed(0)
        network = classifier.build(lite0, classes).eval()
        x = network.normalise(torch.rand(16, 3, 64, 64))
        loss = torch.nn.functional.cross_entropy(network(x), torch.arange(16) % len(classes))
        assert float(loss.detach()) == pytest.approx(math.log(len(classes)), rel=0.1)


def test_preprocessing_is_the_backbones_own(lite0):
    network = classifier.build(lite0, CLASSES)
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    white = network.normalise(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert white == pytest.approx([(1 - m) / s for m, s in zip(config.mean, config.std, strict=True)])


def test_a_trained_head_is_kept_for_the_same_classes_and_replaced_for_others(lite0):
    trained = classifier.build(lite0, CLASSES)
    stored = {
        "architecture": trained.architecture,
        "classes": CLASSES,
        "weights": trained.network.state_dict(),
    }
    same = classifier.build(stored, CLASSES)
    assert torch.equal(same.network.classifier.weight, trained.network.classifier.weight)
    other = classifier.build(stored, CLASSES[::-1])
    assert not torch.equal(other.network.classifier.weight, trained.network.classifier.weight)
    assert torch.equal(other.network.conv_stem.weight, trained.network.conv_stem.weight)


@pytest.mark.parametrize("architecture", ["tf_efficientnet_b0.aa_in1k", "tf_efficientnet_b1.aa_in1k"])
def test_the_papers_backbones_train_under_its_penalty(architecture):
    torch.manual_seed(0)
    stored = backbones.pretrained("b", Backbone(architecture=architecture, weights="random"), seed=0)
    network = classifier.build(stored, ["benign", "melanoma"])
    x = network.normalise(torch.rand(2, 3, 64, 64))
    w = torch.zeros(2, 64, 64)
    w[:, :8, :8] = 1
    term = penalty(network, x, w, form="eq2-mean", output="logits")
    assert term.shape == (2,)
    assert assert_alive(network, term.sum()) > 0


def test_findings_with_the_names_of_classes_get_a_new_head():
    trained = small.network(["a", "b"])
    trained.network.classifier.weight.data += 1
    stored = {"architecture": "test_efficientnet", "classes": ["a", "b"], "weights": trained.network.state_dict()}
    kept = classifier.build(stored, ["a", "b"]).network.classifier.weight
    assert torch.equal(kept, trained.network.classifier.weight)
    assert classifier.build(stored, ["a", "b"], findings=True).network.classifier.weight.abs().max() < 0.1
    again = classifier.build(stored | {"findings": True}, ["a", "b"], findings=True)
    assert torch.equal(again.network.classifier.weight, trained.network.classifier.weight)
