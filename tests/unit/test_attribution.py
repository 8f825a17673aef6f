"""DeepLIFT-Rescale: complete, equal to captum where captum is exact, and without side effects."""

import warnings

import pytest
import timm
import torch
from torch import nn

from pipeline.attribution import blurred, deeplift


@pytest.fixture
def x():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_one_rectifier_worked_by_hand():
    # y = relu(x1 + x2 - 1) at (1, 1), 1 above the kink, against (0, 0), below it: y - y0 = 1, the sum's
    # difference is 2, so that the multiplier is 1/2 where the gradient would say 1.
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1), nn.ReLU())
    network[1].weight.data = torch.tensor([[1.0, 1.0, 0.0]])
    network[1].bias.data = torch.tensor([-1.0])
    x = torch.tensor([1.0, 1.0, 5.0]).reshape(1, 3, 1, 1)
    saliency, error = deeplift(network, x, torch.zeros_like(x), torch.tensor([0]))
    assert saliency.item() == pytest.approx(1.0)  # 0.5 + 0.5 + 0, summed over channels
    assert error.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0", "efficientnet_b1", "tf_efficientnetv2_s"])
def test_attributions_add_up_on_whole_networks(name, x):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(std=0.3)  # a fresh network is nearly linear, which would be too easy
    network.get_classifier().weight.data.normal_()
    saliency, error = deeplift(network, x, blurred(x), torch.tensor([0, 3, 4]))
    assert saliency.shape == (3, 64, 64)
    assert float(error.max()) <= 0.01


def test_it_agrees_with_captum_where_captum_is_exact(x):
    from captum.attr import DeepLift

    torch.manual_seed(0)
    network = nn.Sequential(
        *[nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()],
        *[nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)],
    ).eval()
    target = torch.tensor([0, 2, 3])
    ours, _ = deeplift(network, x, blurred(x), target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        theirs = DeepLift(network).attribute(x, blurred(x), target=target).sum(dim=1)
    assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-3)


def test_the_rules_are_what_makes_it_complete(x):
    # The same network with an activation that no rule covers: plain gradients, which do not add up.
    class Unknown(nn.Module):
        def forward(self, z):
            return torch.relu(z - 0.2)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), Unknown(), nn.Flatten(), nn.Linear(8 * 62 * 62, 2))
    _, error = deeplift(network, x, blurred(x), torch.tensor([0, 1, 0]))
    assert float(error.max()) > 0.01


def test_the_callers_network_is_left_exactly_as_it_was(x):
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=5).train()
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    modules = [type(module) for module in network.modules()]
    in_place = [getattr(module, "inplace", None) for module in network.modules()]
    deeplift(network, x, blurred(x), torch.tensor([0, 1, 2]))
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    assert [type(module) for module in network.modules()] == modules
    assert [getattr(module, "inplace", None) for module in network.modules()] == in_place
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_a_batch_explains_each_image_as_alone(x):
    torch.manual_seed(0)
    network = timm.create_model("efficientnet_b0", num_classes=5)
    target = torch.tensor([0, 3, 4])
    together, _ = deeplift(network, x, blurred(x), target)
    alone = [deeplift(network, x[i : i + 1], blurred(x[i : i + 1]), target[i : i + 1])[0] for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6, rtol=1e-3)
