"""Any network of timm: fitted to the images, with a new head, or refused by name before anybody is asked."""

import pytest
import torch
from fakes import small

from pipeline.arms import baseline
from pipeline.arms.baseline import train_baseline
from pipeline.config import Backbone, FeedbackSettings
from pipeline.errors import ConfigError, NetworkError
from pipeline.models import backbones, classifier, files
from pipeline.training import states, trainer

CLASSES = ["a", "b", "c"]


def stored(architecture):
    return backbones.pretrained("x", Backbone(architecture=architecture, weights="random"), seed=0)


@pytest.mark.parametrize(
    "architecture",
    ["test_vit", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_s3_tiny_224", "test_efficientnet_gn"],
)
def test_a_network_is_fitted_to_the_images_and_restored(architecture, tmp_path):
    torch.manual_seed(0)
    model = classifier.build(stored(architecture), CLASSES, 64)
    x = model.normalise(torch.rand(2, 3, 64, 64))
    assert float(model.eval()(x).detach().abs().max()) < 1  # the first loss is near log 3
    state = states.begin(model, small.TRAIN)
    states.save(state, tmp_path / "state.pt")
    again = states.restore(tmp_path / "state.pt", small.TRAIN).model.eval()
    assert again.size == model.size
    assert torch.equal(again(x), model(x))


def test_two_heads_learn_together():
    model = classifier.build(stored("levit_128s"), CLASSES, 224)
    layers = backbones.output_layers(model.network)
    assert [layer.out_features for layer in layers] == [3, 3]
    assert all(float(layer.weight.detach().std()) < 0.02 for layer in layers)
    model.learn("head")
    assert {name.split(".")[0] for name, p in model.network.named_parameters() if p.requires_grad} == {
        "head",
        "head_dist",
    }


def test_a_network_for_one_side_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"levit_128s takes images of 224 pixels, and cannot be fitted to 64"):
        classifier.build(stored("levit_128s"), CLASSES, 64)


def test_a_network_without_a_head_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(backbones, "heads", lambda network: [])
    with pytest.raises(ConfigError, match="'test_vit' has no output layer that could learn the classes"):
        stored("test_vit")


def test_what_takes_no_masked_step_is_refused_before_training(tmp_path, monkeypatch):
    images = {"train": small.images(4), "val": small.images(2)}
    files.write(stored("test_efficientnet"), tmp_path / "init.pt")
    settings = small.scenario(FeedbackSettings()).model_copy(update={"init": str(tmp_path / "init.pt")})
    monkeypatch.setattr(trainer, "train", lambda *args, **kwargs: pytest.fail("it trains"))
    build = classifier.build

    def hidden(*args, **named):
        model = build(*args, **named)
        model.network.global_pool = torch.nn.Sequential(
            model.network.global_pool, torch.jit.trace(torch.nn.Hardsigmoid(), torch.ones(1))
        )
        return model

    monkeypatch.setattr(classifier, "build", hidden)
    with pytest.raises(NetworkError, match="PyTorch has no second derivative of hardsigmoid, which Classifier calls"):
        train_baseline(images, settings, ["a", "b"], seed=0)

    def crashing(*args, **named):
        model = build(*args, **named)
        model.network.global_pool = torch.nn.Linear(3, 3)
        return model

    monkeypatch.setattr(classifier, "build", crashing)
    with pytest.raises(NetworkError, match="test_efficientnet cannot take a masked step on images of 32 x 32 pixels"):
        train_baseline(images, settings, ["a", "b"], seed=0)


def test_a_dry_step_changes_nothing():
    state = states.begin(small.network(["a", "b"]), small.TRAIN)
    state.model.train()
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    torch.manual_seed(1)
    baseline.assert_usable(state, small.images(4))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(before[key], value) for key, value in state.model.state_dict().items())
    assert all(p.grad is None for p in state.model.parameters())
    assert all(module.training for module in state.model.modules())
