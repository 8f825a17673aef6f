"""Checks of the images, logits, class numbers and weights that the method reads: any network may be given to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import NetworkError


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (B, classes) of images (B, C, H, W); raise NetworkError on any other output.

    The network gets a copy of the images, since its ``forward`` may overwrite them.
    """
    assert_inputs(model, x)
    found: Tensor = model(x.clone())
    assert_logits(model, found, len(x))
    return found


def assert_inputs(model: nn.Module, x: Tensor) -> None:
    """Raise ValueError if the network is no module, images are no floats (B, C, H, W), or there are none."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the network must be a torch.nn.Module, but it is {words(model)}. Fix: wrap it in a module")
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        raise ValueError(
            f"images must be floats (B, C, H, W), but they are {words(x)}. Fix: normalise them, and add the batch"
        )
    if not x.numel():
        raise ValueError(f"there are no images: they are {words(x)}. Fix: leave out an empty batch")


def assert_logits(model: nn.Module, found: Any, count: int) -> None:
    """Raise NetworkError if a network's output for ``count`` images is anything but logits (count, classes)."""
    if not isinstance(found, Tensor):
        fix = "wrap the network so that `forward` returns the logits alone"
    elif found.ndim != 2:
        fix = "flatten its output, a single logit to (B, 1)"
    elif len(found) != count or not found.shape[1]:
        fix = "return one row of logits for each image"
    else:
        return
    raise NetworkError(
        f"{type(model).__name__} must return logits (B, classes), but for {count} images it returns {words(found)}. "
        f"Fix: {fix}"
    )


def assert_classes(numbers: Tensor, classes: int, name: str) -> None:
    """Raise ValueError if class numbers are no whole numbers from 0 to ``classes`` - 1.

    Without this check, -1 is the last class, and cross-entropy leaves out an image with the label -100.
    """
    if numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise ValueError(f"{name} must be whole numbers, but they are {numbers.dtype}. Fix: convert them to int64")
    wrong = numbers[(numbers < 0) | (numbers >= classes)]
    if len(wrong):
        raise ValueError(
            f"{name} must be class numbers from 0 to {classes - 1}, but there is {int(wrong[0])}. "
            "Fix: correct it, or leave this image out"
        )


def assert_labels(numbers: Tensor, classes: int) -> None:
    """Raise ValueError if labels are no class numbers of two classes or more: the cross-entropy of one logit is 0."""
    if classes < 2:
        raise ValueError(
            "cross-entropy and metrics need two logits or more, but the network has one. "
            "Fix: give each class a logit, or labels of a finding, (N, 1) of 0 and 1, to a single logit"
        )
    assert_classes(numbers, classes, "labels")


def learning(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights that learn; raise NetworkError if all are frozen."""
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise NetworkError(
            f"no weight of {type(model).__name__} learns. Fix: set `requires_grad_(True)` on some layers"
        )
    return found


@contextmanager
def differentiating(model: nn.Module) -> Iterator[None]:
    """Turn PyTorch's errors about a network that cannot be differentiated, inside, into a NetworkError."""
    try:
        yield
    except RuntimeError as error:
        text, name = str(error), type(model).__name__
        if missing := re.search(r"derivative for (?:aten::)?(\w+?)(?:_backward)? is not implemented", text):
            problem = f"PyTorch has no second derivative of {missing[1]}, which {name} calls"
            fix = "replace this operation, or choose another network"
        elif re.search(r"(?i)double backwards? |once_differentiable", text):
            problem = f"{name} calls an operation that allows one derivative only"
            fix = "replace it (it is an own `autograd.Function`, or one of torchvision), or choose another network"
        elif re.search(r"(?i)input type|same dtype", text):
            problem = f"{name} meets numbers of two types"
            fix = "give images and weights one type, as by `images.to(next(network.parameters()).dtype)`"
        elif "heckpoint" in text:
            problem = f"{name} uses gradient checkpointing, which recomputes activations without the method's rules"
            fix = "switch gradient checkpointing off, as `network.set_grad_checkpointing(False)` does in timm"
        elif "not supported on ScriptModules" in text:
            problem = f"{name} has a scripted part, whose layers cannot be read"
            fix = "use the network from before `torch.jit`, or another explainer or form of the penalty"
        elif "not have been used in the graph" in text or "does not require grad" in text:
            problem = f"the logits of {name} do not depend on its images by operations with a gradient"
            fix = "remove `detach`, `no_grad`, rounding and conversions to numpy from `forward`"
        else:
            raise
        raise NetworkError(f"{problem}. Fix: {fix}") from error


def words(found: Any) -> str:
    """Return the kind of a value as words for a message: "a tensor (2, 3) of float32"."""
    if isinstance(found, Tensor):
        return f"a tensor {tuple(found.shape)} of {str(found.dtype).removeprefix('torch.')}"
    return f"a {type(found).__name__}"
