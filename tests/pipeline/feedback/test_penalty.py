"""The penalty equals Eq. 2, and it reaches the weights only where W is set."""

from contextlib import nullcontext
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.errors import NumericalError
from pipeline.feedback import double_backward
from pipeline.feedback.check import DeadPenaltyError, assert_alive, check
from pipeline.feedback.double_backward import cheap_second_derivatives
from pipeline.feedback.penalty import penalty
from pipeline.models.modes import in_eval

FORMS = ["eq2", "eq2-mean", "share", "cosine"]
OUTPUTS = ["logits", "log-probs", "predicted", "ce", "projection"]
LABELS = torch.tensor([0, 1, 2, 0])


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
    assert torch.allclose(penalty(network, x, w, form="eq2", output="logits"), energy[1:2])
    assert torch.allclose(penalty(network, x, w, form="eq2-mean", output="logits"), energy[1:2] / 12)
    assert torch.allclose(penalty(network, x, w, form="share", output="logits"), energy[1:2] / energy.sum())
    total = weight.sum(dim=0).reshape(3, 4).sum(dim=0).abs()  # over channels
    assert torch.allclose(penalty(network, x, w, form="cosine", output="logits"), total[1:2] / total.norm())
    likelier = weight[int(network(x).argmax())].reshape(3, 4).square().sum(dim=0)
    assert torch.allclose(penalty(network, x, w, form="eq2", output="predicted"), likelier[1:2])
    # d CE / dx for class 0 is p_1 (w_1 - w_0): the softmax's gradient, with two classes.
    against = (torch.softmax(network(x), 1)[0, 1] * (weight[1] - weight[0])).reshape(3, 4).square().sum(dim=0)
    assert torch.allclose(penalty(network, x, w, form="eq2", output="ce", labels=torch.tensor([0])), against[1:2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_reaches_the_weights_where_w_is_set_and_only_there(network, x, form, output):
    assert gradient_norm(network, penalty(network, x, corner(4), form=form, output=output, labels=LABELS).sum()) > 0
    assert (
        gradient_norm(network, penalty(network, x, torch.zeros(4, 8, 8), form=form, output=output, labels=LABELS).sum())
        == 0
    )


def test_the_penalty_as_published_is_dead_and_detected(network, x):
    published = penalty(network, x, corner(4), form="as-published", output="logits").mean()
    leaf = x.clone().requires_grad_()
    network.eval()
    (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf, retain_graph=True)  # no create_graph
    assert torch.allclose(published, (corner(4)[:, None] * gradient).square().mean())
    with pytest.raises(DeadPenaltyError, match="create_graph"):
        assert_alive(network, published)


def test_an_empty_mask_is_detected_and_a_living_penalty_is_measured(network, x):
    with pytest.raises(DeadPenaltyError, match="masks are not empty"):
        assert_alive(network, penalty(network, x, torch.zeros(4, 8, 8), form="eq2", output="logits").sum())
    loss = penalty(network, x, corner(4), form="eq2", output="logits").sum()
    assert assert_alive(network, loss) == pytest.approx(gradient_norm(network, loss))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", ["logits", "log-probs", "predicted", "ce"])
def test_an_image_has_the_same_penalty_alone_and_in_any_batch(network, x, form, output):
    network.train()
    together = penalty(network, x, corner(4), form=form, output=output, labels=LABELS)
    one = [slice(i, i + 1) for i in range(4)]
    alone = torch.cat([penalty(network, x[i], corner(1), form=form, output=output, labels=LABELS[i]) for i in one])
    assert torch.allclose(together, alone, rtol=1e-4)


def test_share_has_no_scale(network, x):
    before = penalty(network, x, corner(4), form="share", output="logits")
    network[-1].weight.data *= 100
    assert torch.allclose(before, penalty(network, x, corner(4), form="share", output="logits"), rtol=1e-4)


def test_projection_estimates_the_penalty_of_all_logits(network, x):
    network.eval()
    jacobian = torch.autograd.functional.jacobian(lambda image: network(image[None])[0], x[0])  # (C, 3, 8, 8)
    centred = jacobian - jacobian.mean(dim=0)
    exact = (corner(1) * centred.square().sum(dim=(0, 1))).sum()
    torch.manual_seed(0)
    draws = penalty(network, x[:1].expand(4000, -1, -1, -1), corner(4000), form="eq2", output="projection")
    assert float(draws.detach().mean()) == pytest.approx(float(exact), rel=0.1)


def test_the_network_is_left_as_it_was_and_dropout_has_no_say(network, x):
    network.insert(5, nn.Dropout(0.5))
    network.train()
    network[0].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    values = [penalty(network, x, corner(4), form="eq2", output="logits") for _ in range(2)]
    assert torch.equal(*values)
    values[0].sum().backward()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert [module.training for module in network.children()] == [False] + [True] * 6
    with in_eval(network, nn.BatchNorm2d):
        assert [module.training for module in network.children()] == [False, False] + [True] * 5


def test_an_infinite_or_nan_tensor_is_named(network, x):
    with pytest.raises(NumericalError, match="input gradient is infinite or NaN for 4 of 4 masked images, in float32"):
        penalty(nn.Sequential(nn.Flatten(), Sqrt(), nn.Linear(192, 2)), x * 0, corner(4), form="eq2", output="logits")
    network[-1].weight.data *= 1e25
    with pytest.raises(NumericalError, match="squared input gradient is infinite or NaN for 4 of 4"):
        penalty(network, x, corner(4), form="eq2", output="logits")
    network[-1].weight.data[0] = float("nan")
    with pytest.raises(NumericalError, match="logits are infinite or NaN"):
        penalty(network, x, corner(4), form="share", output="logits")


def test_half_precision_that_overflows_is_named_and_autocast_does_no_harm(network, x):
    network.eval()
    expected = penalty(network, x, corner(4), form="eq2", output="logits")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(penalty(network, x, corner(4), form="eq2", output="logits"), expected)
    steep = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False), nn.Linear(2, 2, bias=False)).half()
    for layer in (steep[1], steep[2]):
        layer.weight.data.fill_(500.0)
    with pytest.raises(NumericalError, match=r"in float16\. Fix: keep the weights in float32"):
        penalty(steep, (x / 1e4).half(), corner(4), form="eq2", output="logits")


class Sqrt(nn.Module):
    def forward(self, z):
        return z.sqrt()


class SiLUInPlace(nn.Module):
    """Relies on an in-place change of a tensor's memory, which the fast route does not change."""

    def forward(self, z):
        z = z * 1.0
        same = z.detach()
        nn.functional.silu(z, inplace=True)
        return z * same


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_run_checks_that_the_fast_route_is_right_and_else_takes_the_exact_one(network, x, output, monkeypatch):
    found = check(network, x, corner(4), form="eq2", output=output, labels=LABELS)
    assert found.fast
    assert found.cosine == pytest.approx(1.0, abs=1e-6)
    assert found.norm > 0
    monkeypatch.setattr(double_backward, "_silu", lambda z, inplace=False: 1.5 * nn.functional.silu(z))
    assert not check(network, x, corner(4), form="eq2", output=output, labels=LABELS).fast
    monkeypatch.undo()

    def broken(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(double_backward, "_conv2d", broken)
    assert not check(network, x, corner(4), form="eq2", output=output, labels=LABELS).fast


def test_a_wrong_fast_route_is_detected(network, x):
    network[2] = SiLUInPlace()
    found = check(network, x, corner(4), form="eq2", output="logits")
    assert not found.fast


def test_a_run_stops_where_the_penalty_is_dead(network, x):
    with pytest.raises(DeadPenaltyError, match="masks are not empty"):
        check(network, x, torch.zeros(4, 8, 8), form="eq2", output="logits")


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0", "resnet18", "convnext_atto"])
def test_the_fast_route_changes_neither_values_nor_gradients(name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=4).double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training; a fresh one is the identity
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_()

    def gradients(fast):
        network.zero_grad()
        value = penalty(network, x, torch.ones(2, 32, 32), form="eq2", output="logits", fast=fast).sum()
        value.backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
        return value.detach(), torch.cat([part.flatten() for part in parts])

    value, cheap = gradients(fast=True)
    expected, native = gradients(fast=False)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    assert float((cheap - native).norm() / native.norm()) < 1e-10
    assert check(network, x, torch.ones(2, 32, 32), form="eq2", output="logits").fast  # a run takes it


class Passes(TorchDispatchMode):
    """Counts passes through convolutions: forwards, backwards, and to the weight."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            self.count += 1
        if function is torch.ops.aten.convolution_backward.default:
            self.count += sum(args[-1][:2])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("activation", "output", "passes"),
    [
        (nn.SiLU, "logits", 6),
        (nn.ReLU, "logits", 4),
        (partial(nn.ReLU, inplace=True), "projection", 4),
        (nn.ReLU6, "predicted", 4),
        (partial(nn.Hardtanh, -2, 2), "logits", 4),
        (nn.ReLU, "ce", 6),  # softmax has second derivatives
    ],
)
def test_nothing_goes_back_through_a_forward_pass_without_second_derivatives(x, activation, output, passes):
    torch.manual_seed(0)
    blocks = [(nn.Conv2d(c, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), activation()) for c in (3, 4, 4)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    network = nn.Sequential(*(layer for block in blocks for layer in block), *head)
    with Passes() as counted:
        penalty(network, x, corner(4), form="eq2", output=output, labels=LABELS).sum().backward()
    assert counted.count == len(blocks) * passes
    assert check(network, x, corner(4), form="eq2", output=output, labels=LABELS).fast


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


def test_tiny_gradients_are_compared_as_well(network, x):
    network[-1].weight.data *= 1e-7
    found = check(network, x, corner(4), form="eq2", output="logits")
    assert found.cosine == pytest.approx(1.0, abs=1e-6)
    assert found.norm < 1e-8
