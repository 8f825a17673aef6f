"""DeepLIFT is complete and equals results worked by hand; it leaves the network as it was, as all explainers do."""

import warnings

import pytest
import torch
from fakes.modules import Function
from fakes.timm_networks import build
from torch import nn
from torch.nn import functional

from pipeline.query.attribution import attribute
from pipeline.query.completeness import uncovered
from pipeline.query.deeplift import FLOOR, deeplift
from pipeline.query.references import blurred, plain

TARGET = torch.tensor([0, 3, 4])
COMPLETE = [
    *[f"efficientnet_b{n}" for n in range(5)],
    *["tf_efficientnetv2_s", "tf_efficientnet_lite0", "resnet18", "resnet50", "convnext_atto", "mobilenetv3_small_100"],
]


@pytest.fixture(autouse=True)
def nondeterministic():
    """Allow captum's max pooling, which is not deterministic; an earlier test may have forbidden it by training."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def x():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def difference(network, x, reference, target):
    """The expected sum of attributions, from the network itself."""
    with torch.no_grad():
        rows = torch.arange(len(x))
        return network.eval()(x)[rows, target] - network(reference)[rows, target]


def line(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


def by_hand(network, x, reference):
    """Attributions of a network's only output to each element of a line."""
    saliency, error = deeplift(network, line(*x), line(*reference), torch.tensor([0]))
    assert error.item() == pytest.approx(0.0, abs=1e-5)
    return saliency.flatten().tolist()


def test_one_rectifier_worked_by_hand():
    # y = relu(x1 + x2 - 1) at (1, 1), 1 above the kink, against (0, 0), below it: y - y0 = 1, the sum's
    # difference is 2, so that the multiplier is 1/2 where the gradient would say 1.
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1), nn.ReLU())
    network[1].weight.data = torch.tensor([[1.0, 1.0, 0.0]])
    network[1].bias.data = torch.tensor([-1.0])
    assert by_hand(network, [1.0, 1.0, 5.0], [0.0, 0.0, 0.0]) == pytest.approx([0.5, 0.5, 0.0])


def test_a_product_and_a_quotient_worked_by_hand():
    # 3 * 5 - 1 * 2 = 13 = (3 - 1)(5 + 2)/2 + (5 - 2)(3 + 1)/2
    product = Function(lambda x: (x[..., 0] * x[..., 1]).flatten(1))
    assert by_hand(product, [3.0, 5.0], [1.0, 2.0]) == pytest.approx([7.0, 6.0])
    # 3 / 4 - 1 / 2 = (3 - 1)(1/4 + 1/2)/2 + (1/4 - 1/2)(3 + 1)/2
    quotient = Function(lambda x: (x[..., 0] / x[..., 1]).flatten(1))
    assert by_hand(quotient, [3.0, 4.0], [1.0, 2.0]) == pytest.approx([0.75, -0.5])
    assert by_hand(Function(lambda x: (1 / x).sum((1, 2))), [4.0], [2.0]) == pytest.approx([-0.25])


def test_a_max_pool_worked_by_hand():
    # (1, 4) against (3, 0): 4 - 3 goes to x's largest; (2, 0) against (5, 0): 2 - 5 to the reference's.
    pool = nn.Sequential(nn.MaxPool2d((1, 2)), Function(lambda y: y.sum((1, 2, 3)).view(-1, 1)))
    assert by_hand(pool, [1.0, 4.0, 2.0, 0.0], [3.0, 0.0, 5.0, 0.0]) == pytest.approx([0.0, 1.0, -3.0, 0.0])
    # Two windows that overlap in the middle, which decides both.
    pool[0] = nn.MaxPool2d((1, 2), stride=1)
    assert by_hand(pool, [0.0, 4.0, 1.0], [0.0, 1.0, 1.0]) == pytest.approx([0.0, 6.0, 0.0])


def test_a_layer_norm_worked_by_hand():
    # Of two values, the first becomes d/|d|, d half their distance: 1 at (3, 1), -1 at (0, 4). Centred: 1 and
    # -2, inverse roots: 1 and 1/2. 2 = (1 + 2)/2 + (1 - 1/2) 1, and the latter goes back in equal parts.
    network = nn.Sequential(nn.LayerNorm(2, eps=0.0), Function(lambda y: y[..., 0].flatten(1)))
    assert by_hand(network, [3.0, 1.0], [0.0, 4.0]) == pytest.approx([1.0, 1.0])


def test_a_layer_norm_survives_a_reference_without_variance(x):
    network = build("convnext_atto", x)
    network.stem[0].bias.data.zero_()  # of a black image, the first norm sees zeros alone
    saliency, error = deeplift(network, x, plain(x, 0.0), TARGET)
    assert float(error.max()) <= 0.01
    assert float(saliency.abs().sum()) < 1000


@pytest.mark.parametrize("name", COMPLETE)
def test_attributions_add_up_on_whole_networks(name, x):
    network = build(name, x)
    saliency, error = deeplift(network, x, blurred(x), TARGET)
    expected = difference(network, x, blurred(x), TARGET)
    assert saliency.shape == (3, 64, 64)
    assert float(expected.abs().min()) > FLOOR  # so that they add up to something
    assert float(((saliency.sum(dim=(1, 2)) - expected) / expected).abs().max()) <= 0.01
    assert float(error.max()) <= 0.01


@pytest.mark.slow
def test_rounding_is_told_apart_from_a_missing_rule(x):
    network = build("efficientnet_b3", x)  # whose statistics a black image is far from: logits in tens of thousands
    with pytest.warns(UserWarning, match="large values cancel although every module has a rule"):
        deeplift(network, x, plain(x, 0.0), TARGET)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def convolved(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5))


def reused_after_an_in_place_relu(x):
    y = x - 0.1
    functional.relu(y, inplace=True)
    return y * y.mean((2, 3), keepdim=True) + y


def in_place_arithmetic(x):
    y = x.clone()
    y -= 0.1
    y *= y.mean((2, 3), keepdim=True)
    y /= 1 + y.square()
    y.sigmoid_().add_(x)
    y[:, :4].tanh_()
    return y


FORWARDS = {
    "functional": lambda x: functional.silu(x) + torch.relu(x) * x.sigmoid() + x.clamp(min=0).sqrt(),
    "reused after in place": reused_after_an_in_place_relu,
    "in place": in_place_arithmetic,
    "powers": lambda x: x**2 + 2**x + x.abs().pow(1.5) + 1 / (x * x + 1),
    "gated": lambda x: x * functional.adaptive_avg_pool2d(functional.hardswish(x), 1).expand_as(x),
    "overlapping max pool": lambda x: functional.max_pool2d(functional.gelu(x, approximate="tanh"), 3, 1, 1) + x,
    "torch's own norm": lambda x: torch.layer_norm(x, (62, 62), None, None, 1e-5, True),
    "channels last norm": lambda x: functional.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_attributions_add_up_for_functions_in_any_forward(name, x):
    network = convolved(Function(FORWARDS[name]))
    before = x.clone()
    saliency, _ = deeplift(network, x, blurred(x), TARGET)
    expected = difference(network, x, blurred(x), TARGET)
    assert torch.allclose(saliency.sum(dim=(1, 2)), expected, rtol=1e-3, atol=1e-6)
    assert torch.equal(x, before)


ACTIVATIONS = [
    *[nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Mish, nn.ELU, nn.LeakyReLU, nn.CELU, nn.SELU],
    *[nn.GELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.PReLU, nn.Tanhshrink, nn.Hardtanh],
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_follows_the_rescale_rule(activation):
    values = torch.linspace(-4, 8, 25)
    for options in [{}, {"inplace": True}]:
        try:
            network = nn.Sequential(activation(**options), Function(lambda y: y.sum((1, 2, 3)).view(-1, 1)))
        except TypeError:
            continue  # it has no in-place variant
        expected = activation()(values) - activation()(torch.tensor(0.5))
        assert by_hand(network, values.tolist(), [0.5] * 25) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.MaxPool2d(2), nn.Sigmoid(), nn.Softplus()], ids=repr)
def test_it_agrees_with_captum_where_captum_is_exact(x, layer):
    from captum.attr import DeepLift

    network = convolved(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), layer).eval().double()
    x = x.double()
    ours, _ = deeplift(network, x, blurred(x), TARGET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        theirs = DeepLift(network).attribute(x, blurred(x), target=TARGET).sum(dim=1)
    assert torch.allclose(ours, theirs, atol=1e-9)


def largest(z):
    return (4 * z).topk(1, dim=1)[0].square().expand_as(z)


def test_a_warning_names_the_modules_without_a_rule(x):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, z):
            return torch.cumprod(self.conv(z), dim=2) + z

    network = convolved(nn.Sequential(nn.SiLU(inplace=True), Function(largest)), nn.ReLU(), Block())
    network[3].conv.weight.data *= 10
    network[-1].weight.data *= 1000
    with pytest.warns(UserWarning, match=r"DeepLIFT misses .* in 1\.1 \(Function\), 3 \(Block\), and ") as caught:
        _, error = deeplift(network, x, blurred(x), TARGET)
    assert len(caught) == 1
    assert float(error.max()) > 0.01
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_an_operation_of_the_outermost_module_is_named(x):
    class Net(nn.Sequential):
        def forward(self, z):
            return super().forward(z).cumprod(dim=1)

    network = Net(*convolved())
    network[-1].weight.data *= 100
    assert uncovered(network, x, blurred(x)) == ["the network itself (Net)"]
    assert uncovered(build("tf_efficientnet_lite0", x), x[:1], blurred(x[:1])) == []


def test_a_difference_of_nan_is_incomplete(x):
    with pytest.warns(UserWarning, match="DeepLIFT misses nan%"):
        deeplift(convolved(Function(lambda y: y / 0)), x, blurred(x), TARGET)


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("out of memory, say")


@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients", "input-x-gradient", "grad-cam"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_network_is_left_exactly_as_it_was(x, method, fails):
    network = build("mobilenetv3_small_100", x).train()
    network.blocks[0].eval()
    network.conv_stem.weight.requires_grad_(False)
    if fails:
        network.classifier = Failing()

    def seen():
        return [
            *[(id(m), m.training, getattr(m, "inplace", None), list(m.__dict__)) for m in network.modules()],
            *[(id(p), p.requires_grad, p.grad) for p in network.parameters()],
            any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules()),
        ]

    before, weights = seen(), {key: value.clone() for key, value in network.state_dict().items()}
    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            attribute(network, x, blurred(x), target=TARGET, method=method)
    else:
        attribute(network, x, blurred(x), target=TARGET, method=method)
    assert seen() == before
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    assert torch.overrides._get_current_function_mode() is None
