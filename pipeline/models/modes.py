"""Module modes that hold for one block of code: eval mode, parameters without gradients, and the network as written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
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


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """Run the network operation by operation: without `torch.compile`, and without timm's gradient checkpointing.

    The method's rules hold during the forward pass. Recomputed activations would not follow them, and PyTorch cannot
    tell. Any other checkpointing therefore raises a RuntimeError (see ``outputs.differentiating``).
    """
    modules = list(model.modules())
    recomputing = [module for module in modules if getattr(module, "grad_checkpointing", False) is True]
    marks = "_orig_mod", "_compiled_call_impl"  # of `torch.compile(network)` and `network.compile()`
    compiled = any(getattr(module, mark, None) is not None for module in modules for mark in marks)
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    _set(recomputing, False)
    try:
        with eager, torch.autograd.graph.disable_saved_tensors_hooks("gradient checkpointing, or other hooks"):
            yield
    finally:
        _set(recomputing, True)


def _set(modules: list[nn.Module], recomputing: bool) -> None:
    for module in modules:
        module.grad_checkpointing = recomputing  # type: ignore[assignment]
