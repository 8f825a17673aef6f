"""The penalty is Eq. 2, reaches the weights where W is set, and nothing else."""

from contextlib import nullcontext

import pytest
import timm
import torch
from torch import nn

from pipeline.convolution import cheap_second_derivatives
from pipeline.penalty import DeadPenaltyError, assert_alive, batchnorm_in_eval, penalty

FORMS = ["eq2", "share"]
OUTPUTS = ["logits", "log-probs", "projection"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@pytest.fixture
def x():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def corner(batch: int) -> torch.Tensor:
    w = torch.zeros(batch, 8, 8)
    w[:, :2, :2] = 1
    return w


def gradient_norm(network, loss):
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5


def test_a_linear_network_has_the_penalty_worked_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 2, 2, bias=False))
    weight = torch.arange(24.0).reshape(2, 12) / 10
    network[1].weight.data = weight
    w = torch.zeros(1, 2, 2)
    w[0, 0, 1] = 1
    # d(y1 + y2)/dx is the sum of the rows; pixel (0, 1) is entry 1 of each of three channels of four.
    energy = weight.sum(dim=0).reshape(3, 4).square().sum(dim=0)
    x = torch.rand(1, 3, 2, 2)
    assert torch.allclose(penalty(network, x, w, "eq2", "logits"), energy[1:2])
    assert torch.allclose(penalty(network, x, w, "share", "logits"), energy[1:2] / energy.sum())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_reaches_the_weights_where_w_is_set_and_only_there(network, x, form, output):
    assert gradient_norm(network, penalty(network, x, corner(4), form, output).sum()) > 0
    assert gradient_norm(network, penalty(network, x, torch.zeros(4, 8, 8), form, output).sum()) == 0


def test_the_penalty_as_published_is_dead_and_found_out(network, x):
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf, retain_graph=True)  # no create_graph
    published = (corner(4)[:, None] * gradient).square().mean()
    with pytest.raises(DeadPenaltyError, match="create_graph"):
        assert_alive(network, published)


def test_an_empty_mask_is_found_out_and_a_living_penalty_is_measured(network, x):
    with pytest.raises(DeadPenaltyError, match="masks are not empty"):
        assert_alive(network, penalty(network, x, torch.zeros(4, 8, 8), "eq2", "logits").sum())
    loss = penalty(network, x, corner(4), "eq2", "logits").sum()
    assert assert_alive(network, loss) == pytest.approx(gradient_norm(network, loss))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", ["logits", "log-probs"])
def test_an_image_has_the_same_penalty_alone_and_in_any_batch(network, x, form, output):
    network.train()
    together = penalty(network, x, corner(4), form, output)
    alone = torch.cat([penalty(network, x[i : i + 1], corner(1), form, output) for i in range(4)])
    assert torch.allclose(together, alone, rtol=1e-4)


def test_share_has_no_scale(network, x):
    before = penalty(network, x, corner(4), "share", "logits")
    network[-1].weight.data *= 100
    assert torch.allclose(before, penalty(network, x, corner(4), "share", "logits"), rtol=1e-4)


def test_projection_estimates_the_penalty_of_all_logits(network, x):
    network.eval()
    jacobian = torch.autograd.functional.jacobian(lambda image: network(image[None])[0], x[0])  # (C, 3, 8, 8)
    centred = jacobian - jacobian.mean(dim=0)
    exact = (corner(1) * centred.square().sum(dim=(0, 1))).sum()
    torch.manual_seed(0)
    draws = penalty(network, x[:1].expand(4000, -1, -1, -1), corner(4000), "eq2", "projection")
    assert float(draws.detach().mean()) == pytest.approx(float(exact), rel=0.1)


def test_batchnorm_statistics_and_modes_are_left_alone(network, x):
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    penalty(network, x, corner(4), "eq2", "logits").sum().backward()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    with batchnorm_in_eval(network):
        assert not network[1].training
        assert network[0].training
    assert network[1].training


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0", "resnet18"])
def test_cheap_convolutions_change_neither_values_nor_gradients(name, monkeypatch):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=4).double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def gradients():
        network.zero_grad()
        value = penalty(network, x, torch.ones(2, 32, 32), "eq2", "logits").sum()
        value.backward()
        return value.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    value, cheap = gradients()
    monkeypatch.setattr("pipeline.penalty.cheap_second_derivatives", nullcontext)
    expected, native = gradients()
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    assert float((cheap - native).norm() / native.norm()) < 1e-10


def test_cheap_convolutions_take_every_setting_of_a_convolution():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=True),
        nn.Conv2d(4, 4, 3, padding="same", groups=4),
        nn.Conv2d(4, 8, (1, 3), dilation=(1, 2), padding=(0, 1), bias=False),
        nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular"),
    ]
    for layer in layers:
        layer.double()
        x = torch.randn(2, 4, 9, 9, dtype=torch.float64, requires_grad=True)
        results = []
        for context in (nullcontext, cheap_second_derivatives):
            with context():
                y = torch.tanh(layer(x))
            (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
            results.append([y.detach(), g.detach(), *torch.autograd.grad(g.square().sum(), [layer.weight, x])])
        for native, cheap in zip(*results, strict=True):
            assert torch.allclose(native, cheap, rtol=1e-10)
