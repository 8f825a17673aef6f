"""Networks that PyTorch runs in another way than they are written: the method's numbers are right, or it refuses."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.errors import NetworkError
from pipeline.feedback.check import check
from pipeline.feedback.penalty import penalty
from pipeline.query.attribution import attribute
from pipeline.query.deeplift import IncompleteError
from pipeline.query.references import blurred

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
TARGET = torch.tensor([0, 1])
EXPLAINERS = ("deeplift", "integrated-gradients", "input-x-gradient", "grad-cam")
RECOMPUTES = r"gradient checkpointing, .* Fix: switch gradient checkpointing off"


@pytest.fixture
def x():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Beside(nn.Module):
    """A network with a module beside its main path, after an activation on the spot."""

    def __init__(self, inner):
        super().__init__()
        self.stem, self.inner, self.head = nn.Conv2d(3, 4, 3), inner, nn.Linear(4, 3)

    def forward(self, x):
        h = self.stem(x)
        nn.functional.relu(h, inplace=True)
        return self.head((h + self.inner(h)).square().mean((2, 3)))


@pytest.fixture
def inner():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())


def beside(inner):
    torch.manual_seed(2)
    return Beside(inner)


def masked_step(network, x, *, fast=True, form="share"):
    """The penalties, and their gradient over the weights."""
    w = torch.zeros(2, *x.shape[2:])
    w[:, : x.shape[2] // 2] = 1
    penalties = penalty(network, x, w, form=form, output="ce", labels=TARGET, fast=fast)
    gradients = torch.autograd.grad(penalties.sum(), list(network.parameters()), materialize_grads=True)
    return [penalties.detach(), torch.cat([g.flatten() for g in gradients])]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_vit"])
def test_timms_gradient_checkpointing_changes_no_number(x, name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **({"img_size": 32} if "vit" in name else {})).eval()
    for key, parameter in network.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_(std=0.3)
    step = masked_step(network, x, fast=False)
    saliency = attribute(network, x, blurred(x), target=TARGET)
    network.set_grad_checkpointing(True)
    assert_equal(masked_step(network, x, fast=False), step)
    assert_equal(masked_step(network, x), masked_step(network.requires_grad_(True), x))
    assert_equal([attribute(network, x, blurred(x), target=TARGET)], [saliency])
    assert any(getattr(module, "grad_checkpointing", False) for module in network.modules())


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("form", ["share", "late", "as-published"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_other_gradient_checkpointing_is_refused(x, form, reentrant):
    network = beside(nn.Tanh())
    network.inner.forward = lambda h: checkpoint(torch.tanh, h, use_reentrant=reentrant)
    with pytest.raises(NetworkError, match=RECOMPUTES):
        check(network, x, torch.ones(2, 32, 32), form=form, output="logits")
    if form != "late" or not reentrant:  # the late penalty's own gradient ends above it
        with pytest.raises(NetworkError, match=RECOMPUTES):
            masked_step(network, x, form=form)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("method", EXPLAINERS)
def test_explainers_are_right_or_refuse_gradient_checkpointing(x, method, reentrant):
    network = beside(nn.Tanh())
    expected = attribute(network, x, blurred(x), target=TARGET, method=method)
    network.inner.forward = lambda h: checkpoint(torch.tanh, h, use_reentrant=reentrant)
    if method == "deeplift" or (reentrant and method != "grad-cam"):  # whose gradient ends above it
        with pytest.raises(NetworkError, match=RECOMPUTES):
            attribute(network, x, blurred(x), target=TARGET, method=method)
    else:
        assert_equal([attribute(network, x, blurred(x), target=TARGET, method=method)], [expected])


def test_a_scripted_part_is_penalised_as_it_is(x, inner):
    expected = masked_step(beside(inner), x)
    for scripted in (torch.jit.script(inner), torch.jit.trace(inner, torch.rand(2, 4, 30, 30))):
        for fast in (True, False):  # the fast route would show it values from before the activation on the spot
            assert_equal(masked_step(beside(scripted), x, fast=fast), expected)
    whole = torch.jit.trace(beside(inner).eval(), x)
    assert_equal(masked_step(whole, x), expected)
    hidden = beside(torch.jit.trace(nn.Hardsigmoid(), torch.ones(1)))
    with pytest.raises(NetworkError, match="PyTorch has no second derivative of hardsigmoid, which Beside calls"):
        check(hidden, x, torch.ones(2, 32, 32), form="eq2", output="logits")


@pytest.mark.parametrize("part", [torch.jit.script, lambda inner: torch.jit.trace(inner, torch.rand(2, 4, 30, 30))])
def test_a_scripted_part_is_explained_or_refused(x, inner, part):
    for method in EXPLAINERS:
        network = beside(part(inner))
        if method == "deeplift":  # it would take the part for a constant
            with pytest.raises(NetworkError, match="DeepLIFT does not see all operations of this network: a part is"):
                attribute(network, x, blurred(x), target=TARGET, method=method)
        elif method == "grad-cam" and part is torch.jit.script:
            with pytest.raises(NetworkError, match="Beside has a scripted part, whose layers cannot be read"):
                attribute(network, x, blurred(x), target=TARGET, method=method)
        else:
            expected = attribute(beside(inner), x, blurred(x), target=TARGET, method=method)
            assert_equal([attribute(network, x, blurred(x), target=TARGET, method=method)], [expected])


class Squared(torch.autograd.Function):
    """A function with a derivative of its own."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return 2 * z * g


def test_a_function_with_its_own_derivative_is_penalised_and_has_no_rule(x):
    network, expected = beside(nn.Sequential()), beside(nn.Sequential())
    network.inner.forward, expected.inner.forward = Squared.apply, torch.square
    assert_equal(masked_step(network, x, fast=False), masked_step(expected, x))
    attribute(expected, x, blurred(x), target=TARGET, limit=0.01)
    with pytest.raises(IncompleteError, match=r"no rule for an operation in inner \(Sequential\)"):
        attribute(network, x, blurred(x), target=TARGET, limit=0.01)


def test_a_compiled_network_runs_as_it_is_written(x, inner):
    step = masked_step(beside(inner), x)
    saliency = attribute(beside(inner), x, blurred(x), target=TARGET)
    compiled = torch.compile(beside(inner), backend="aot_eager")
    in_place = beside(inner)
    in_place.compile(backend="aot_eager")
    for network in (compiled, in_place):
        assert_equal(masked_step(network, x), step)
        assert_equal([attribute(network, x, blurred(x), target=TARGET)], [saliency])


def test_a_frozen_network_is_explained_and_stays_frozen(x, inner):
    network = beside(inner)
    for method in EXPLAINERS:
        expected = attribute(network.requires_grad_(True), x, blurred(x), target=TARGET, method=method)
        found = attribute(network.requires_grad_(False), x, blurred(x), target=TARGET, method=method)
        assert torch.equal(found, expected)
        assert not any(parameter.requires_grad for parameter in network.parameters())
