"""The penalty on any network: right, or refused in a sentence."""

import re

import pytest
import timm
import torch
from fakes import small
from torch import nn
from torch.nn import functional

from pipeline.config import Penalty
from pipeline.data.loading import as_tensor
from pipeline.errors import NetworkError, NumericalError
from pipeline.feedback.check import DeadPenaltyError, check
from pipeline.feedback.penalty import penalty
from pipeline.feedback.spending import Feedback

EQ2 = {"form": "eq2", "output": "logits"}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def x():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Changed(nn.Module):
    """A network with a function after its convolution, or after its logits."""

    def __init__(self, network, *, inner=None, outer=None):
        super().__init__()
        self.network, self.inner, self.outer = network, inner, outer

    def forward(self, x):
        h = self.network[0](x)
        h = self.inner(h) if self.inner else h
        logits = self.network[1:](h)
        return self.outer(logits) if self.outer else logits


def masks(x):
    w = torch.zeros(len(x), *x.shape[2:])
    for n in range(len(x)):
        w[n, n] = 1  # each image has its own
    return w


def test_masks_with_a_channel_act_on_their_own_image_alone(network, x):
    w = masks(x)
    expected = penalty(network, x, w, **EQ2)
    assert torch.equal(penalty(network, x, w[:, None], **EQ2), expected)
    assert torch.equal(penalty(network, x, w.bool(), **EQ2), expected)
    assert check(network, x, w[:, None], **EQ2) == check(network, x, w, **EQ2)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (4, 3, 8, 8), (4, 8, 4), (3, 8, 8), (1, 1, 8, 8), (4, 8, 8, 1)])
@pytest.mark.parametrize("form", ["eq2", "as-published"])
def test_masks_of_another_shape_are_refused(network, x, shape, form):
    with pytest.raises(ValueError, match=r"masks must be .* or \(B, 1, H, W\), here \(4, 8, 8\), but they are"):
        penalty(network, x, torch.ones(shape), form=form, output="logits")


@pytest.mark.parametrize("value", [-0.1, 1.1, 255, float("nan"), float("inf")])
def test_masks_outside_0_to_1_are_refused(network, x, value):
    w = masks(x)
    w[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"masks must be 0\.\.1"):
        penalty(network, x, w, **EQ2)


def test_wrong_words_are_refused_with_the_nearest_word(network, x):
    with pytest.raises(ValueError, match=r"unknown form 'eq-2'\. Fix: write 'eq2', or choose one of eq2, eq2-mean"):
        penalty(network, x, masks(x), form="eq-2", output="logits")
    with pytest.raises(ValueError, match=r"unknown output 'log_probs'\. Fix: write 'log-probs'"):
        check(network, x, masks(x), form="eq2", output="log_probs")


@pytest.mark.parametrize("wrong", [-100, -1, 3])
def test_labels_that_are_no_class_are_refused(network, x, wrong):
    with pytest.raises(ValueError, match=rf"labels must be class numbers from 0 to 2, but there is {wrong}"):
        penalty(network, x, masks(x), form="eq2", output="ce", labels=torch.tensor([0, 1, wrong, 2]))


def test_labels_and_directions_of_another_shape_are_refused(network, x):
    with pytest.raises(ValueError, match="one class number for each of 4 images"):
        penalty(network, x, masks(x), form="eq2", output="ce", labels=torch.tensor([0]))
    with pytest.raises(ValueError, match=r"whole numbers, but they are torch\.float32"):
        penalty(network, x, masks(x), form="eq2", output="ce", labels=torch.zeros(4))
    with pytest.raises(ValueError, match=r"directions must be \(B, classes\), here \(4, 3\), but they are \(1, 3\)"):
        penalty(network, x, masks(x), form="eq2", output="projection", direction=torch.randn(1, 3))
    with pytest.raises(ValueError, match=r"images must be floats \(B, C, H, W\), but they are a tensor \(3, 8, 8\)"):
        penalty(network, x[0], masks(x), **EQ2)


OUTPUTS = {
    "spatial": (lambda y: y[..., None, None], r"it returns a tensor \(4, 3, 1, 1\) of float32\. Fix: flatten"),
    "flat": (lambda y: y[:, 0], r"it returns a tensor \(4,\) of float32\. Fix: flatten"),
    "tuple": (lambda y: (y, y), "it returns a tuple. Fix: wrap the network"),
    "dict": (lambda y: {"logits": y}, "it returns a dict. Fix: wrap the network"),
    "mean": (lambda y: y.mean(0, keepdim=True), r"a tensor \(1, 3\) of float32\. Fix: return one row"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_are_no_logits_are_refused(network, x, name):
    outer, says = OUTPUTS[name]
    with pytest.raises(NetworkError, match=r"Changed must return logits \(B, classes\), but .*" + says):
        penalty(Changed(network, outer=outer), x, masks(x), **EQ2)


def test_one_logit_is_right_or_refused(network, x):
    network[-1] = nn.Linear(16, 1)
    for output in ("logits", "predicted"):
        found = check(network, x, masks(x), form="eq2", output=output)
        assert found.fast
        assert found.norm > 0
    for output in ("log-probs", "ce", "projection"):
        with pytest.raises(NetworkError, match=f"one logit, for which the output '{output}' is constant"):
            penalty(network, x, masks(x), form="eq2", output=output, labels=torch.zeros(4, dtype=torch.long))


def test_rounding_noise_is_no_living_penalty(network, x):
    probabilities = Changed(network, outer=lambda y: y.softmax(dim=1))
    for form in ("eq2", "share"):
        with pytest.raises(DeadPenaltyError, match="the output 'logits' of Changed is constant"):
            check(probabilities, x, masks(x), form=form, output="logits")
        assert check(probabilities, x, masks(x), form=form, output="projection").norm > 0
    centred = Changed(network, outer=lambda y: y - y.mean(dim=1, keepdim=True))
    with pytest.raises(DeadPenaltyError, match="is constant"):
        check(centred, x, masks(x), **EQ2)
    # The share of a network without nonlinearity in one channel does not depend on its weight.
    linear = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(DeadPenaltyError, match="zero or rounding noise for every weight"):
        check(linear, x, masks(x), form="share", output="logits")


def test_the_check_leaves_the_network_as_it_was(network, x):
    network.insert(1, nn.BatchNorm2d(4))
    before = {key: value.clone() for key, value in network.train().state_dict().items()}
    check(network, x, masks(x), **EQ2)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_network_without_a_learning_weight_is_refused(network, x):
    with pytest.raises(NetworkError, match="no weight of Sequential learns"):
        check(network.requires_grad_(False), x, masks(x), **EQ2)


@pytest.mark.parametrize("learning", [0, -1])
def test_both_routes_agree_where_some_layers_are_frozen(network, x, learning):
    network.insert(1, nn.BatchNorm2d(4))
    whole = penalty(network, x, masks(x), **EQ2)
    network.requires_grad_(False)[learning].requires_grad_(True)
    found = check(network, x, masks(x), **EQ2)
    assert found.fast
    assert found.cosine > 0.999
    assert torch.equal(penalty(network, x, masks(x), **EQ2), whole)


def test_operations_without_a_gradient_are_refused(network, x):
    for inner in (torch.Tensor.detach, lambda h: torch.from_numpy(h.detach().numpy())):
        with pytest.raises(NetworkError, match="do not depend on its images by operations with a gradient"):
            check(Changed(network, inner=inner), x, masks(x), **EQ2)


def assigned(h):
    y = torch.zeros_like(h)
    y[:, :2] = h[:, :2] * 2
    y[:, 2:] = functional.silu(h[:, 2:])
    return y


def on_the_spot(function):
    def run(h):
        h = h * 1.0
        function(h)  # its result is discarded
        return h

    return run


def half_on_the_spot(h):
    h = h * 1.0
    functional.silu(h[:, :2], inplace=True)
    return h


FORWARDS = {
    "index assignment": assigned,
    "hardsigmoid": functional.hardsigmoid,
    "hardsigmoid in place": on_the_spot(lambda h: functional.hardsigmoid(h, inplace=True)),
    "silu in place": on_the_spot(lambda h: functional.silu(h, inplace=True)),
    "silu in place, by position": on_the_spot(lambda h: functional.silu(h, True)),
    "relu in place": on_the_spot(lambda h: functional.relu(h, inplace=True)),
    "relu6 in place": on_the_spot(lambda h: functional.relu6(h, inplace=True)),
    "silu in place on a part": half_on_the_spot,
    "relu_": on_the_spot(torch.relu_),
    "named operand": lambda h: functional.silu(input=functional.relu(input=h)) + functional.hardtanh(input=h),
    "mean over an axis": lambda h: h * h.mean(axis=(2, 3), keepdims=True),
    "mean of one dimension": lambda h: h * h.mean(1, True),
    "mean of another type": lambda h: h * h.mean((2, 3), keepdim=True, dtype=torch.float64),
    "transposed": lambda h: functional.silu(h.transpose(1, 3)).transpose(1, 3),
    "attention": lambda h: functional.scaled_dot_product_attention(h, h, h, is_causal=True),
    "convolution by name": lambda h: functional.conv2d(weight=torch.ones(4, 1, 1, 1).to(h), input=h, groups=4),
    "unbatched convolution": lambda h: torch.stack([functional.conv2d(one, one.new_ones(4, 4, 1, 1)) for one in h]),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_both_routes_take_any_forward(network, x, name):
    changed = Changed(network, inner=FORWARDS[name]).double()
    x = x.double()

    def gradients(fast):
        penalties = penalty(changed, x, masks(x), fast=fast, **EQ2)
        return penalties.detach(), torch.autograd.grad(penalties.sum(), [network[0].weight, network[-1].weight])

    (values, (first, last)), (fast_values, (fast_first, fast_last)) = gradients(fast=False), gradients(fast=True)
    # The first derivative, by central differences along the first axis of an image's masked row.
    step = torch.zeros_like(x)
    step[0, 0, 0, 0] = 1e-6
    with torch.no_grad():
        slope = (changed(x + step).sum() - changed(x - step).sum()) / 2e-6
    only = torch.zeros_like(masks(x))
    only[0, 0, 0] = 1
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(changed(leaf).sum(), leaf)
    assert float(g[0, 0, 0, 0]) == pytest.approx(float(slope), rel=1e-4, abs=1e-8)
    assert float(penalty(changed, x, only, **EQ2)[0].detach()) == pytest.approx(float(g[0, :, 0, 0].square().sum()))
    for found, expected in [(fast_values, values), (fast_first, first), (fast_last, last)]:
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "test_vit", "vit_tiny_patch16_224"])
def test_hardsigmoid_and_fused_attention_can_be_penalised(name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **({"img_size": 64} if "vit" in name else {}))
    x = torch.randn(2, 3, 64, 64)
    found = check(network, x, torch.ones(2, 64, 64), form="eq2", output="projection")
    assert found.fast
    assert found.cosine > 0.999


def test_lambda_auto_takes_the_route_of_the_check(monkeypatch):
    model, images = small.network(["a", "b"]), small.images(4)
    routes = []

    def recorded(*args, fast=True, **kwargs):
        routes.append(fast)
        return penalty(*args, fast=fast, **kwargs)

    monkeypatch.setattr("pipeline.feedback.spending.penalty", recorded)
    monkeypatch.setattr("pipeline.feedback.check.AGREE", -1.0)  # the check refuses the fast route
    feedback = Feedback(
        masks=small.upper_half_masked(images, 4),
        settings=Penalty(form="eq2", output="projection", weight="auto"),
        weight=None,
        ids=images.ids,
        labels=images.labels,
        classes=2,
        originals=lambda some: model.normalise(as_tensor(images.pixels[some])),
    )
    step = feedback.next_step(model, [0, 1])
    feedback.penalties(model, step, [0, 1])
    assert routes == [False, False]


def test_numbers_that_are_not_finite_are_no_penalty(network, x):
    with pytest.raises(NumericalError, match="logits are infinite or NaN"):
        penalty(network, x * float("nan"), masks(x), **EQ2)


def test_messages_are_one_sentence_and_a_remedy(network, x):
    with pytest.raises(NetworkError) as caught:
        penalty(Changed(network, outer=lambda y: None), x, masks(x), **EQ2)
    assert re.fullmatch(r"[^.\n]+\. Fix: [^\n]+", str(caught.value))
