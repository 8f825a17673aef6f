"""SiLU's rule gives the same numbers in any layout of memory."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.feedback.activations import silu
from pipeline.feedback.double_backward import cheap_second_derivatives


@st.composite
def laid_out(draw):
    """A tensor of any layout: permuted, with gaps, expanded, or a part of another."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    order = draw(st.permutations(range(len(sizes))))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    base = torch.randn([2 * sizes[i] for i in order], generator=generator, dtype=torch.float64)
    base = base[tuple(slice(None, None, draw(st.sampled_from([1, 2]))) for _ in order)]
    z = base.permute([order.index(i) for i in range(len(sizes))])
    return z.narrow(0, 0, 1).expand_as(z) if draw(st.booleans()) else z


@settings(max_examples=100, deadline=None)
@given(laid_out(), st.booleans())
def test_silu_gives_the_same_numbers_in_any_layout(z, kept):
    def derivatives(function):
        leaf = z.clone(memory_format=torch.preserve_format).requires_grad_()
        (g,) = torch.autograd.grad(function(leaf * 1.0).square().sum(), leaf, create_graph=True)
        return [g.detach(), *torch.autograd.grad(g.square().sum(), leaf)]

    def by_rule(values):
        with cheap_second_derivatives():
            y = functional.silu(values, inplace=not kept)
            return (y if kept else values) * 1.0

    for found, expected in zip(derivatives(by_rule), derivatives(functional.silu), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(silu(z), functional.silu(z))
