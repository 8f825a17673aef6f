"""Explanations of any network: right, or refused in a sentence; experts never see noise."""

import numpy as np
import pytest
import timm
import torch
from fakes import small
from fakes.modules import Function, network
from torch import nn

from pipeline.config import Explain, QuerySettings
from pipeline.errors import NetworkError, NumericalError, PipelineError
from pipeline.query import deeplift as module
from pipeline.query.attribution import attribute
from pipeline.query.completeness import uncovered
from pipeline.query.deeplift import IncompleteError, deeplift
from pipeline.query.grad_cam import grad_cam
from pipeline.query.proposals import propose
from pipeline.query.references import blurred
from pipeline.query.sampling import entropy, scores, top
from pipeline.query.selection import choose
from pipeline.training import states

TARGET = torch.tensor([0, 3])


@pytest.fixture
def x():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def normalised_by_its_own_numbers(h):
    return (h - float(h.mean())) / float(h.std())


def test_completeness_is_measured_against_the_network_itself(x):
    net = network(nn.ReLU(), Function(normalised_by_its_own_numbers))
    with pytest.warns(UserWarning, match="turns numbers of its input into constants, or mixes the images of a batch"):
        saliency, error = deeplift(net, x, blurred(x), TARGET)
    with torch.no_grad():
        expected = (net(x) - net(blurred(x)))[torch.arange(2), TARGET]
    assert torch.allclose(error, (saliency.sum(dim=(1, 2)) - expected).abs() / expected.abs().clamp(min=0.1), rtol=1e-3)
    assert float(error.max()) > 0.1


def test_a_network_that_mixes_the_images_of_a_batch_is_told_apart(x):
    net = network(Function(lambda h: h - h.mean(dim=0)))
    with pytest.warns(UserWarning, match="or mixes the images of a batch"):
        deeplift(net, x, blurred(x), TARGET)


def test_a_network_is_measured_and_diagnosed_once(x, monkeypatch):
    passes, diagnoses = [], []
    net = network(Function(lambda h: h.cumprod(dim=1)))
    net.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(module, "uncovered", lambda *args: diagnoses.append(1) or uncovered(*args))
    with pytest.warns(UserWarning, match=r"no rule for an operation in 1 \(Function\)"):
        first = deeplift(net, x, blurred(x), TARGET)
    before = len(passes)
    second = deeplift(net, x, blurred(x), TARGET)  # without a second warning, which would be an error here
    assert (len(diagnoses), len(passes) - before) == (1, 1)
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize("function", [lambda h: h.float().cumprod(1), lambda h: h.float() @ torch.ones(14, 14)])
def test_a_diagnosis_breaks_no_run(x, function):
    net = network(Function(function), Function(lambda h: h.cumsum(2).cumprod(1)))
    with pytest.warns(UserWarning, match="DeepLIFT misses"):
        deeplift(net, x, blurred(x), TARGET)
    assert uncovered(network(Function(function)), x, blurred(x)) is not None


def test_a_diagnosis_that_fails_breaks_no_run(x):
    calls = []

    def failing(h):
        calls.append(h)
        if len(calls) > 3:  # the pass under the rules, and two plain passes
            raise KeyError("at the second run")
        return h.cumprod(dim=1)

    net = network(Function(lambda h: h))
    net[1].function = failing
    with pytest.warns(UserWarning, match="no module can be examined alone"):
        deeplift(net, x, blurred(x), TARGET)


def test_experts_are_not_asked_on_an_incomplete_explanation(x, tmp_path):
    net = network(Function(lambda h: h.cumprod(dim=1)))
    says = r"no rule for an operation in 1 \(Function\), .* Experts cannot judge .* Fix: set `query.explain.method` to "
    with pytest.raises(IncompleteError, match=says + "`integrated-gradients` or `input-x-gradient` or `grad-cam`, or "):
        attribute(net, x, blurred(x), target=TARGET, limit=0.1)
    model, images = small.network(["a", "b"]), small.images(4)
    state = states.begin(model, small.TRAIN)
    (tmp_path / "images").mkdir()

    def ask(**explain):
        settings = QuerySettings(strategy="entropy", cell=8, proposals=4, explain=Explain(**explain))
        return choose(state, images, asked={}, count=2, settings=settings, seed=0, folder=tmp_path)

    assert len(ask()) == 2
    model.network.global_pool = Function(lambda h: (100 * h.mean((2, 3))).logcumsumexp(dim=1))
    nn.init.normal_(model.network.classifier.weight)
    with pytest.raises(PipelineError, match=r"network\.global_pool \(Function\)"):
        ask()
    assert len(ask(limit=1e9)) == 2
    assert len(ask(method="integrated-gradients")) == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:DeepLIFT misses nan")
def test_what_cannot_be_explained_is_refused(x):
    net = network(nn.ReLU())
    with pytest.raises(NetworkError, match="DeepLIFT does not see all operations of this network: a part is scripted"):
        attribute(torch.jit.trace(net, x), x, blurred(x), target=0)
    for method in ("deeplift", "integrated-gradients", "input-x-gradient", "grad-cam"):
        for target in (-1, 5):
            with pytest.raises(ValueError, match=f"target must be class numbers from 0 to 4, but there is {target}"):
                attribute(net, x, blurred(x), target=target, method=method)
        with pytest.raises(NetworkError, match=r"must return logits \(B, classes\), but .* returns a tuple"):
            attribute(nn.Sequential(net, Function(lambda y: (y, y))), x, blurred(x), target=0, method=method)
        with pytest.raises(NumericalError, match="is infinite or NaN, so it shows nothing"):
            attribute(network(Function(lambda h: h / 0 * 0)), x, blurred(x), target=0, method=method)
    with pytest.raises(NetworkError, match="do not depend on its images by operations with a gradient"):
        attribute(network(Function(torch.Tensor.detach)), x, blurred(x), target=0, method="input-x-gradient")
    with pytest.raises(ValueError, match=r"the reference is a tensor \(1, 3, 16, 16\) of float32, but the images are"):
        attribute(net, x, blurred(x[:1]), target=0)
    with pytest.raises(ValueError, match=r"the target is \(1,\) for 2 images"):
        attribute(net, x, blurred(x), target=torch.tensor([0]))


def by_hand(net, layer, x, target):
    """Grad-CAM of a layer with outputs (B, h, w, C)."""
    kept = []
    handle = layer.register_forward_hook(lambda _, args, y: kept.append(y))
    logits = net(x)
    handle.remove()
    (g,) = torch.autograd.grad(logits[torch.arange(len(x)), target].sum(), kept[0])
    return (g.mean(dim=(1, 2), keepdim=True) * kept[0]).sum(dim=3).detach()


def test_grad_cam_knows_the_layout_of_swin_and_the_grid_of_vit():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 128, 128)
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, img_size=128).eval()
    for holder in (swin, nn.Sequential(swin)):
        assert torch.allclose(grad_cam(holder, x, TARGET), by_hand(swin, swin.norm, x, TARGET), atol=1e-7)
    vit = timm.create_model("test_vit", num_classes=5, img_size=128).eval()
    found = grad_cam(vit, x, TARGET)
    assert found.shape == (2, *vit.patch_embed.grid_size)
    kept = []
    vit.blocks[-1].norm1.register_forward_hook(lambda _, args, y: kept.append(y))
    (g,) = torch.autograd.grad(vit(x)[torch.arange(2), TARGET].sum(), kept[0])
    patches = vit.num_prefix_tokens
    expected = (g[:, patches:].mean(dim=1, keepdim=True) * kept[0][:, patches:]).sum(dim=2).view_as(found)
    assert torch.allclose(found, expected, atol=1e-7)


def test_grad_cam_guesses_no_layout(x):
    class Tokens(nn.Module):  # as torchvision's ViT
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.head = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Linear(6, 5)

        def forward(self, x):
            return self.head(self.norm(self.stem(x).flatten(2).transpose(1, 2)).mean(1))

    with pytest.raises(
        ValueError, match=r"does not know the layout of LayerNorm \(2, 16, 6\), the last layer of Tokens"
    ):
        attribute(Tokens(), x, blurred(x), target=0, method="grad-cam")
    last = nn.Sequential(nn.Conv2d(3, 6, 4, 4), Function(lambda h: h.permute(0, 2, 3, 1)), nn.LayerNorm(6))
    found = grad_cam(nn.Sequential(last, Function(lambda h: h.square().mean((1, 2)))), x, TARGET)
    with torch.no_grad():
        y = last(x)
    chosen = torch.zeros(2, 6).scatter_(1, TARGET[:, None], 1.0)[:, None, None]
    assert torch.allclose(found, (y * chosen * (2 * y / 16).mean((1, 2), keepdim=True)).sum(3), atol=1e-6)


def proposed(saliency, side=32, **changed):
    given = {"kind": "grid", "rank": "absolute", "cell": 8, "count": 4} | changed
    return propose(np.asarray(saliency, np.float32), np.zeros((side, side, 3), np.uint8), **given)


@pytest.mark.parametrize("kind", ["grid", "blobs", "superpixels"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_saliency_that_is_not_finite_is_never_shown(kind, value):
    saliency = np.ones((32, 32))
    saliency[3, 4] = value
    with pytest.raises(NumericalError, match="infinite or NaN, so it ranks no region"):
        proposed(saliency, kind=kind)


def test_proposals_check_what_they_need():
    with pytest.raises(
        ValueError, match=r"cells of 32 pixels do not fill a picture of 299\. Fix: choose a divisor of 299"
    ):
        proposed(np.ones((299, 299)), 299, cell=32)
    with pytest.raises(ValueError, match="saliency and judged pixels must be"):
        proposed(np.ones((32, 24)))
    with pytest.raises(ValueError, match="saliency and judged pixels must be"):
        proposed(np.ones((32, 32)), 24)
    with pytest.raises(ValueError, match="saliency and judged pixels must be"):
        proposed(np.ones((32, 32)), asked=np.zeros((16, 16), bool))
    for wrong in ({"cell": 0}, {"count": -1}, {"at_random": 5}, {"at_random": -1}):
        with pytest.raises(ValueError, match="Fix: "):
            proposed(np.ones((32, 32)), **wrong)


def test_wrong_words_are_refused_with_the_nearest_word(x):
    with pytest.raises(ValueError, match=r"unknown kind of regions 'blob'\. Fix: write 'blobs', or choose one of grid"):
        proposed(np.ones((32, 32)), kind="blob")
    with pytest.raises(ValueError, match="unknown rank 'sign'"):
        proposed(np.ones((32, 32)), rank="sign")
    with pytest.raises(ValueError, match=r"unknown strategy 'entropie'\. Fix: write 'entropy'"):
        scores(torch.zeros(2, 3), torch.zeros(2), strategy="entropie")
    with pytest.raises(ValueError, match=r"unknown explainer 'gradcam'\. Fix: write 'grad-cam'"):
        attribute(network(), x, blurred(x), method="gradcam")


def test_scores_need_classes_and_finite_numbers():
    with pytest.raises(ValueError, match="labels must be class numbers from 0 to 2, but there is -100"):
        scores(torch.zeros(2, 3), torch.tensor([0, -100]), strategy="confident-mistakes")
    with pytest.raises(ValueError, match=r"two classes or more, but they are \(4, 1\)"):
        entropy(torch.zeros(4, 1))
    with pytest.raises(NumericalError, match="a score is NaN"):
        top(torch.tensor([0.1, float("nan")]), 1)
