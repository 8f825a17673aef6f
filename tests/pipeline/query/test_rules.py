"""DeepLIFT's rules: attributions add up for each function that has one."""

import warnings

import pytest
import torch
from fakes.modules import Function, network
from torch import nn
from torch.nn import functional

from pipeline.query.deeplift import deeplift
from pipeline.query.references import blurred

TARGET = torch.tensor([0, 3])


@pytest.fixture
def x():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def tokens(function):
    """A function on tokens (B, N, 8), as one on maps."""
    return lambda h: function(h.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, h.shape[2:])


def assigned(h):
    y = torch.zeros_like(h)
    y[:, :4] = h[:, :4].tanh()
    y[:, 4:] = 1
    y[:, 6:] += functional.silu(h[:, 6:])
    return y


class Tokens(nn.Module):
    """A module on tokens, as one on maps."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, h):
        return tokens(self.inner)(h)


class SelfAttention(nn.MultiheadAttention):
    def forward(self, z):
        return super().forward(4 * z, 4 * z, z, need_weights=self.add_zero_attn)[0]


class GlobalResponseNorm(nn.Module):
    """ConvNeXt V2's."""

    def forward(self, h):
        lengths = h.norm(p=2, dim=(2, 3), keepdim=True)
        return torch.addcmul(
            h.mean((1, 2, 3), True), h, lengths / (lengths.mean(dim=1, keepdim=True) + 1e-6), value=0.5
        )


def attended(**options):
    return tokens(lambda z: functional.scaled_dot_product_attention(3 * z, 3 * z, z, **options))


FORWARDS = {
    "group norm": lambda: nn.GroupNorm(4, 8),
    "instance norm": lambda: nn.InstanceNorm2d(8, affine=True),
    "RMS norm": lambda: nn.RMSNorm((14,)),
    "response norm": GlobalResponseNorm,
    "length": lambda: Function(functional.normalize),
    "softmax": lambda: nn.Softmax(dim=1),
    "sharp softmax": lambda: Function(lambda h: (100 * h).softmax(dim=-1)),
    "log-softmax": lambda: Function(lambda h: h.log_softmax(1)),
    "log-sum-exp": lambda: Function(lambda h: h - h.logsumexp(dim=1, keepdim=True)),
    "matmul": lambda: Function(lambda h: h @ h.transpose(2, 3)),
    "bmm": lambda: Function(lambda h: torch.bmm(h.flatten(0, 1), h.flatten(0, 1).mT).view(h.shape)),
    "einsum": lambda: Function(lambda h: torch.einsum("bchw,bcwk->bchk", h, h)),
    "attention": lambda: Function(attended()),
    "causal attention": lambda: Function(attended(is_causal=True, scale=1.0)),
    "masked attention": lambda: Function(attended(attn_mask=torch.rand(196, 196) > 0.5)),
    "biased attention": lambda: Function(attended(attn_mask=torch.randn(196, 196))),
    "a module's attention": lambda: Tokens(SelfAttention(8, 2, batch_first=True)),
    "attention with weights": lambda: Tokens(SelfAttention(8, 2, batch_first=True, add_zero_attn=True)),
    "transformer": lambda: Tokens(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)),
    "amax": lambda: Function(
        lambda h: h * h.amax(dim=(2, 3), keepdim=True) - torch.stack([one.amin() for one in h])[:, None, None, None]
    ),
    "max": lambda: Function(lambda h: h - h.max(dim=1, keepdim=True).values + h.max(3, True)[0]),
    "larger and smaller": lambda: Function(lambda h: torch.maximum(h, h.flip(1)) - torch.minimum(2 * h, h.flip(2))),
    "adaptive max pool": lambda: nn.AdaptiveMaxPool2d(5),
    "where": lambda: Function(lambda h: torch.where(h > 0.2, h * h, 3.0)),
    "GLU": lambda: nn.GLU(dim=1),
    "index assignment": lambda: Function(assigned),
    "axis": lambda: Function(lambda h: h.softmax(dim=1) * h.mean(axis=(2, 3), keepdims=True)),
    "least": lambda: Function(lambda h: h - h.amin((2, 3), keepdim=True) - h.min(dim=1, keepdim=True).values),
    "variance": lambda: Function(lambda h: (h - h.mean(1, True)) / (h.var(1, keepdim=True, unbiased=False) + 1).sqrt()),
    "deviation": lambda: Function(lambda h: h.std((2, 3), keepdim=True) * h / h.std(dim=1, correction=0, keepdim=True)),
    "variance and mean": lambda: Function(
        lambda h: h * torch.var_mean(h, 1, keepdim=True)[0] + torch.std_mean(h, (1, 2, 3), keepdim=True)[0]
    ),
    "cosine": lambda: Function(lambda h: functional.cosine_similarity(h, h.flip(1), dim=1)[:, None]),
    "absolute length": lambda: Function(lambda h: functional.normalize(h, p=1.0)),
    "mask of truth": lambda: Function(lambda h: (h > 0.1) * h + h.tanh() * (h < 0.2)),
    "masked by value": lambda: Function(lambda h: (h * h).masked_fill(h > 0.2, 3.0)),
    "sum of quotients": lambda: Function(lambda h: torch.addcdiv(h, h, 1 + h * h, value=2)),
    "interpolated": lambda: Function(lambda h: torch.lerp(h, h.flip(1), h.sigmoid())),
    "more activations": lambda: Function(lambda h: functional.rrelu(h) + h.tanh().atanh() + h.sin().mul(0.9).asin()),
    "without elements": lambda: Function(lambda h: torch.cat([h[:, :0].relu(), h.relu()], dim=1)),
    "named operands": lambda: Function(lambda h: torch.mul(input=torch.tanh(input=h), other=h)),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_attributions_add_up(name, x):
    net = network(FORWARDS[name]()).double()
    x = x.double()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        saliency, error = deeplift(net, x, blurred(x), TARGET)
    with torch.no_grad():
        expected = (net(x) - net(blurred(x)))[torch.arange(2), TARGET]
    assert float(expected.abs().min()) > 1e-3
    assert float(error.max()) < 1e-6
    assert torch.allclose(saliency.sum(dim=(1, 2)), expected)


def test_a_softmax_worked_by_hand():
    # log sum exp of (log 3, 0) against (0, 0): log 4 - log 2 = w log 3. Hence log softmax of the first: log 3 - log 2.
    net = nn.Sequential(nn.Flatten(), Function(lambda z: z.log_softmax(1)))
    line = torch.tensor([[[[3.0, 1.0]]]]).log()
    saliency, error = deeplift(net, line, torch.zeros_like(line), torch.tensor([0]))
    assert saliency.flatten().tolist() == pytest.approx([float(torch.tensor(1.5).log()), 0.0])
    assert float(error) < 1e-6
