"""The explainers beside DeepLIFT, batches of images, and references."""

import pytest
import torch
from fakes.modules import Function
from fakes.timm_networks import build
from torch import nn

from pipeline.query.attribution import attribute
from pipeline.query.references import blurred, plain

TARGET = torch.tensor([0, 3, 4])


@pytest.fixture
def x():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients", "input-x-gradient", "grad-cam"])
def test_a_batch_explains_each_image_as_alone(x, method):
    network = build("efficientnet_b0", x)
    x = x[:2]
    together = attribute(network, x, blurred(x), target=TARGET[:2], method=method)
    alone = [attribute(network, x[[i]], blurred(x[[i]]), target=int(TARGET[i]), method=method) for i in range(2)]
    assert together.shape == (2, 64, 64)
    assert not together.requires_grad
    assert torch.allclose(together, torch.cat(alone), atol=1e-3 * float(together.abs().max()))


def test_the_predicted_class_is_explained_by_default(x):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Dropout(0.9), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5)
    )  # a network in training predicts at random
    predicted = network.eval()(x).argmax(dim=1)
    found = attribute(network.train(), x, blurred(x))
    assert torch.equal(found, attribute(network, x, blurred(x), target=predicted))
    assert not torch.equal(found, attribute(network, x, blurred(x), target=(predicted + 1) % 5))
    with pytest.raises(ValueError, match=r"unknown explainer 'lime'\. Fix: .*choose one of deeplift, integrated"):
        attribute(network, x, blurred(x), method="lime")


def test_the_other_explainers_worked_by_hand():
    # f = mean of w x^2 over 2 x 2 places: its gradient is w x / 2.
    x = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    squared = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), Function(lambda y: y), nn.Flatten())
    squared[0].weight.data.fill_(3.0)
    network = nn.Sequential(squared, Function(lambda y: (y * y / 9).mean(dim=1, keepdim=True)))
    reference = torch.zeros_like(x)
    assert torch.allclose(attribute(network, x, reference, target=0, method="input-x-gradient"), x[0] ** 2 / 2)
    assert torch.allclose(
        attribute(network, x, reference, target=0, method="integrated-gradients"), x[0] ** 2 / 4, rtol=1e-4
    )
    # Grad-CAM: the last maps, 3 x, weighed by their mean gradient, the mean of 2 (3 x) / 9 / 4 = x / 6: 1/12.
    assert torch.allclose(attribute(network, x, reference, target=0, method="grad-cam"), 3 * x[0] / 12)


def test_grad_cam_enlarges_the_last_maps_or_says_that_there_are_none(x):
    network = build("resnet18", x)
    saliency = attribute(network, x, blurred(x), target=TARGET, method="grad-cam")
    maps = network.forward_features(x)
    assert saliency.shape == (3, 64, 64)
    coarse = (maps * network.fc.weight[TARGET].view(3, -1, 1, 1) / 4).sum(dim=1)  # the mean of 2 x 2 places follows
    assert torch.allclose(saliency[:, [0, 0, -1, -1], [0, -1, 0, -1]], coarse.flatten(1), rtol=1e-3)
    assert (saliency < 0).any()
    with pytest.raises(ValueError, match="Sequential has none with more than one place at 64 x 64"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)), x, blurred(x), method="grad-cam")


def test_references(x):
    assert blurred(x).std() < x.std() / 5
    assert blurred(x, sigma=0.01).std() > blurred(x, sigma=0.05).std() > blurred(x, sigma=0.05, reach=3).std()
    assert torch.equal(plain(x, 1.0), torch.ones_like(x))
    colour = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert torch.equal(plain(x, colour)[2, :, 5, 6], colour.flatten())
