"""Several processes that train and read one network, each with its share of the images.

Accelerate brings the processes together; here is what they exchange. The network is not wrapped in PyTorch's
DistributedDataParallel, whose hooks expect one backward pass after each forward pass through the wrapper: a step
has two, the penalty's through a graph of gradients. Instead, what all backward passes of a step have left in
``.grad`` is summed once, which is exact: several processes come to the gradient that one would have.
"""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

T = TypeVar("T")


def join(precision: str) -> Accelerator:
    """This process as one of those that a launcher started, if one did; ``precision`` as `train.precision`."""
    # Without a GPU, Accelerate takes the processes of a launcher for so many single ones unless it is told.
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(mixed_precision=precision, cpu=together and not torch.cuda.is_available())


def share(items: list[T], accelerator: Accelerator) -> list[T]:
    """This process's items; together, the processes have each item once."""
    return items[accelerator.process_index :: accelerator.num_processes]


def sum_gradients(model: nn.Module, accelerator: Accelerator) -> None:
    """Every process's gradients become the sum of all processes' gradients."""
    if accelerator.num_processes == 1:
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:  # this process had no images
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum")
    for gradient, summed in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def totals(values: list[float], accelerator: Accelerator) -> list[float]:
    """Each value summed over the processes."""
    if accelerator.num_processes == 1:
        return values
    found: list[float] = accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").tolist()
    return found


def average_buffers(model: nn.Module, weight: float, accelerator: Accelerator) -> None:
    """Every process's float buffers become the mean of all processes', by their weights."""
    if accelerator.num_processes == 1:
        return
    (whole,) = totals([weight], accelerator)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(accelerator.reduce(buffer * (weight / whole), "sum"))


def positions(count: int, accelerator: Accelerator) -> list[int]:
    """This process's part of 0..count - 1: as many as every other's, the last ones repeated where they run out."""
    each = -(-count // accelerator.num_processes)
    start = accelerator.process_index * each
    return [min(n, count - 1) for n in range(start, start + each)]


def gathered(part: Tensor, count: int, accelerator: Accelerator) -> Tensor:
    """What the processes found at their ``positions`` as (count, …), on every process, on the CPU."""
    if accelerator.num_processes > 1:
        part = accelerator.gather(part.to(accelerator.device))
    return part[:count].cpu()
