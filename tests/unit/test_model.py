"""Networks: weights from exactly one source, a head that starts ignorant, states that survive a kill."""

import math

import pytest
import timm
import torch

from pipeline import model
from pipeline.config import Backbone, ConfigError

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def lite0():
    return model.pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed=0)


def test_the_package_holds_imagenet_weights_for_every_layer(lite0):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    assert set(lite0["weights"]) == set(network.state_dict())
    # Trained BatchNorm statistics, not those of a fresh network.
    assert not torch.allclose(lite0["weights"]["bn1.running_var"], torch.ones(32))


def test_the_first_loss_is_that_of_a_network_that_knows_nothing(lite0):
    for classes in (["no", "yes"], CLASSES):
        torch.manual_seed(0)
        network = model.build(lite0, classes).eval()
        x = network.normalise(torch.rand(16, 3, 64, 64))
        loss = torch.nn.functional.cross_entropy(network(x), torch.arange(16) % len(classes))
        assert float(loss.detach()) == pytest.approx(math.log(len(classes)), rel=0.1)


def test_preprocessing_is_the_backbones_own(lite0):
    network = model.build(lite0, CLASSES)
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    white = network.normalise(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert white == pytest.approx([(1 - m) / s for m, s in zip(config.mean, config.std, strict=True)])


def test_a_trained_head_is_kept_for_the_same_classes_and_replaced_for_others(lite0):
    trained = model.build(lite0, CLASSES)
    stored = {
        "architecture": trained.architecture,
        "classes": CLASSES,
        "weights": trained.network.state_dict(),
    }
    same = model.build(stored, CLASSES)
    assert torch.equal(same.network.classifier.weight, trained.network.classifier.weight)
    other = model.build(stored, CLASSES[::-1])
    assert not torch.equal(other.network.classifier.weight, trained.network.classifier.weight)
    assert torch.equal(other.network.conv_stem.weight, trained.network.conv_stem.weight)


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        (Backbone(architecture="efficientnet_lite0", weights="package"), "tf_efficientnet_lite0 only"),
        (Backbone(architecture="no_such_net", weights="random"), "timm has no architecture 'no_such_net'"),
        (Backbone(architecture="tf_efficientnet_lite0", weights="file", file="nowhere.pt"), "Other sources"),
    ],
)
def test_a_source_that_cannot_be_had_stops_and_nothing_takes_its_place(backbone, says):
    with pytest.raises(ConfigError, match=says):
        model.pretrained("x", backbone, seed=0)


def test_weights_of_another_network_are_refused(tmp_path, lite0):
    path = tmp_path / "weights.pt"
    torch.save(lite0["weights"], path)
    found = model.pretrained(
        "x", Backbone(architecture="tf_efficientnet_lite0", weights="file", file=str(path)), seed=0
    )
    assert torch.equal(found["weights"]["conv_stem.weight"], lite0["weights"]["conv_stem.weight"])
    with pytest.raises(ConfigError, match="resnet18"):
        model.pretrained("x", Backbone(architecture="resnet18", weights="file", file=str(path)), seed=0)


def test_random_weights_follow_the_seed():
    backbone = Backbone(architecture="resnet18", weights="random")
    one, same, other = (model.pretrained("x", backbone, seed)["weights"]["conv1.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_stored_files_are_the_same_bytes_and_never_half_a_file(tmp_path, lite0):
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    model.write(lite0, one)
    model.write(lite0, two)
    assert one.read_bytes() == two.read_bytes()
    one.write_bytes(two.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"one\.pt.*dvc repro"):
        model.read(one)
    with pytest.raises(ConfigError, match="nowhere"):
        model.read(tmp_path / "nowhere.pt")
