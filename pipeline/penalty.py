"""The masked input-gradient penalty: what makes the network look away.

Serrano e Silva et al. 2023, Eq. 2:  L = CE + lambda * sum_ij W_ij (d y / d x_ij)^2, after Ross,
Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, https://arxiv.org/abs/1703.03717.
x is the network's normalised input, the squared gradient is summed over colour channels.

Departures, all stated: the paper does not say which y; its code sums the logits (``logits``,
``logits`` here); ``log-probs`` is Ross et al.'s sum of log-probabilities. Both let a class's
evidence hide from them: what raises one logit and lowers another can cancel in the sum.
``projection`` cannot be fooled so: y = sum_c v_c z_c with v drawn from N(0, 1) anew for each image and
step, centred over classes (softmax does not see a shift). Its expected square is the sum of all
centred logits' squared gradients, at the cost of one (Hoffman, Roberts and Yaida 2019, *Robust
Learning with Jacobian Regularization*, https://arxiv.org/abs/1908.02729). The code averages
over channels, pixels and batch, where Eq. 2 has a sum: ``eq2`` is the sum, ``eq2-mean`` the mean over
an image's channels and pixels. Its code builds no
graph for the gradient, so that its penalty has no effect on any weight; ours has
(``create_graph=True``), and ``assert_alive`` holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.convolution import cheap_second_derivatives
from pipeline.errors import PipelineError

Form = Literal["eq2", "eq2-mean", "share"]
Output = Literal["logits", "log-probs", "projection"]


class DeadPenaltyError(PipelineError):
    """The penalty does not reach the weights; training on would be training without feedback."""


def penalty(model: nn.Module, x: Tensor, w: Tensor, form: Form, output: Output) -> Tensor:
    """The penalty of each image, (B,), differentiable with respect to the model's weights.

    ``x`` (B, 3, H, W) normalised, un-augmented images; ``w`` (B, H, W), 1 where the model must
    not look. ``eq2``: sum W g², in (output / input unit)². ``eq2-mean``: that over 3 H W, the
    reference code's mean: its lambda of 1e6 is 6.6 under the sum at 224 pixels. ``share``: sum W g² / sum g², the
    masked share of the gradient's energy, 0..1, which has no scale: Eq. 2's squared gradient
    spans decades between images and epochs. An image's value does not depend on the others in
    its batch (BatchNorm is in eval mode here, and its statistics are left alone).
    """
    with batchnorm_in_eval(model), torch.enable_grad():
        x = x.detach().requires_grad_()
        with cheap_second_derivatives():
            y = _outputs(model(x), output)
        (gradient,) = torch.autograd.grad(y, x, create_graph=True)
        energy = gradient.square().sum(dim=1)  # (B, H, W)
        masked = (w * energy).sum(dim=(1, 2))
        if form == "eq2":
            return masked
        if form == "eq2-mean":
            return masked / x[0].numel()
        return masked / energy.sum(dim=(1, 2)).clamp(min=torch.finfo(energy.dtype).tiny)


def assert_alive(model: nn.Module, loss: Tensor) -> float:
    """The norm of the penalty's gradient over all weights; raises DeadPenaltyError when it is zero.

    ``loss`` is the sum of some images' penalties; its graph is kept for the caller's backward pass.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not loss.requires_grad:
        raise DeadPenaltyError("the penalty has no graph: it was computed without create_graph=True")
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    norm = float(sum(g.square().sum() for g in gradients if g is not None)) ** 0.5
    if norm == 0:
        raise DeadPenaltyError(
            "the penalty's gradient is zero for every weight, so the experts' masks would change nothing; "
            "check that the masks are not empty and that the network is not constant"
        )
    return norm


@contextmanager
def batchnorm_in_eval(model: nn.Module) -> Iterator[None]:
    """BatchNorm uses its running statistics inside, and keeps them; modes are restored afterwards."""
    training = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()


def _outputs(logits: Tensor, output: Output) -> Tensor:
    forms: dict[Output, Callable[[Tensor], Tensor]] = {
        "logits": lambda z: z.sum(),
        "log-probs": lambda z: torch.log_softmax(z, dim=1).sum(),
        "projection": lambda z: (z * _centred(torch.randn_like(z))).sum(),
    }
    return forms[output](logits)


def _centred(v: Tensor) -> Tensor:
    return v - v.mean(dim=1, keepdim=True)
