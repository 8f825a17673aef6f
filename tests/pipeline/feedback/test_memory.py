"""The penalty where memory is shared, overwritten or of another type: right, or refused in a sentence."""

import pytest
import torch
from fakes.modules import Function, network
from torch import nn
from torch.nn import functional

from pipeline.errors import NetworkError
from pipeline.feedback.check import check
from pipeline.feedback.penalty import penalty
from pipeline.query.attribution import attribute
from pipeline.query.references import blurred

EQ2 = {"form": "eq2", "output": "logits"}


@pytest.fixture
def x():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def w():
    masks = torch.zeros(2, 16, 16)
    masks[:, :8] = 1
    return masks


def gradients(net, x, w, fast):
    penalties = penalty(net, x, w, fast=fast, **EQ2)
    weights = [net[0].weight, net[-1].weight]
    return [penalties.detach(), *torch.autograd.grad(penalties.sum(), weights)]


def parts_taken_before(h):
    h = h * 1.0
    part, other = h[:, :2], h.narrow(1, 4, 4)
    functional.relu(h, inplace=True)  # both parts see it
    return h + functional.pad(part, (0, 0, 0, 0, 0, 6)) + torch.cat([other, other], dim=1)


def half_precision_inside(h):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = functional.silu(functional.conv2d(h, torch.ones(8, 8, 1, 1) / 8))
    return h.float()


@pytest.mark.parametrize("inner", [parts_taken_before, half_precision_inside])
def test_both_routes_agree(x, w, inner):
    net = network(Function(inner))
    for found, expected in zip(gradients(net, x, w, True), gradients(net, x, w, False), strict=True):
        assert torch.allclose(found, expected, rtol=0.02, atol=1e-3 * float(expected.abs().max()))


def test_both_routes_agree_where_the_logits_are_overwritten_and_returned(x, w):
    def returned(logits):
        functional.relu(logits, inplace=True)
        return logits

    net = network()
    net.insert(0, nn.Sequential(net.pop(0)))
    whole = nn.Sequential(net, Function(returned))
    assert (whole(x) == 0).any()
    found, expected = (penalty(whole, x, w, fast=fast, **EQ2) for fast in (True, False))
    assert torch.allclose(found, expected, rtol=1e-4)


class ConvolutionThenOverwritten(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 1).requires_grad_(False), nn.BatchNorm2d(8)

    def forward(self, h):
        h = h * 1.0
        y = self.conv(h)
        h.tanh_()  # PyTorch needs the old values for its gradient
        return self.norm(y) + h


def test_a_folded_norm_does_not_read_an_input_that_was_overwritten(x, w):
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(network(ConvolutionThenOverwritten()), x, w, fast=True)


def test_a_network_may_overwrite_its_images(x, w):
    def halved(images):
        images *= 0.5
        return images

    net = network(nn.SiLU())
    expected, before = penalty(net, x * 0.5, w, **EQ2), x.clone()
    shown = attribute(net, x * 0.5, blurred(x) * 0.5)
    changed = nn.Sequential(Function(halved), net)
    assert torch.allclose(penalty(changed, x, w, **EQ2), expected / 4, rtol=1e-4)
    for method in ("deeplift", "integrated-gradients", "input-x-gradient", "grad-cam"):
        found = attribute(changed, x, blurred(x), method=method)
        assert torch.equal(x, before)
        assert method != "deeplift" or torch.allclose(found, shown, atol=1e-5)


def test_inference_mode_and_autocast_change_nothing(x, w):
    net = network(nn.BatchNorm2d(8), nn.SiLU())
    expected = penalty(net, x, w, **EQ2).detach(), attribute(net, x, blurred(x))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        images, masks = x.clone(), w.clone()
        assert check(net, images, masks, **EQ2).fast
        found = penalty(net, images, masks, **EQ2), attribute(net, images, blurred(images).clone())
    found[0].sum().backward()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.detach(), other, rtol=1e-4, atol=1e-5)


class Once(torch.autograd.Function):
    """A function as in many published networks, whose authors wrote one derivative."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z.sigmoid()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * (z.sigmoid() + z * z.sigmoid() * (1 - z.sigmoid()))


def test_an_operation_with_one_derivative_is_refused(x, w):
    from torchvision.ops import roi_align

    for inner in (Once.apply, lambda h: roi_align(h, [torch.tensor([[0.0, 0.0, 9.0, 9.0]])] * len(h), 7)):
        with pytest.raises(NetworkError, match=r"Sequential calls an operation that allows one derivative only\. Fix"):
            check(network(Function(inner)), x, w, **EQ2)


def test_inputs_of_another_kind_are_refused(x, w):
    net = network(nn.SiLU())
    for wrong in (x.double(), x.half()):
        with pytest.raises(NetworkError, match="Sequential meets numbers of two types"):
            check(net, wrong, w, **EQ2)
        with pytest.raises(NetworkError, match="Sequential meets numbers of two types"):
            attribute(net, wrong, blurred(wrong.float()).to(wrong))
    for wrong, says in [(x[:0], "there are no images"), (x.numpy(), "images must be floats .* they are a ndarray")]:
        with pytest.raises(ValueError, match=says):
            penalty(net, wrong, w[: len(wrong)], **EQ2)
        with pytest.raises(ValueError, match=says):
            attribute(net, wrong, wrong)
    for wrong in (w.numpy(), w.tolist(), w + 0j):
        with pytest.raises(ValueError, match=r"masks must be tensors \(B, H, W\) or .* Fix: give each image one mask"):
            check(net, x, wrong, **EQ2)
    with pytest.raises(ValueError, match=r"the network must be a torch\.nn\.Module, but it is a function\. Fix: wrap"):
        check(lambda images: net(images), x, w, **EQ2)
    with pytest.raises(ValueError, match=r"of float64, but the images are .* of float32\. Fix: give"):
        attribute(net, x, blurred(x).double(), method="integrated-gradients")


def test_activations_whose_shape_depends_on_values_are_refused(x):
    chosen = network(Function(lambda h: h[:, (h > -9).flatten(2).all(2).all(0)].mean(1, True) + h))
    x[0, 0, 3, 3] = 90
    with pytest.raises(NetworkError, match="the network selects by value"):
        attribute(chosen, x, torch.zeros_like(x))
