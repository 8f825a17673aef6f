"""Module modes that hold for one block of code: eval mode, and parameters without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval(model: nn.Module, kind: type[nn.Module] = nn.Module) -> Iterator[None]:
    """Put the model's modules of one kind into eval mode; restore each module's mode afterwards."""
    training = [module for module in model.modules() if isinstance(module, kind) and module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode with parameters that require no gradient; restore both afterwards."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with in_eval(model):
            yield
    finally:
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)
