"""Several processes train and read one network, each with its share of the images.

Accelerate connects the processes; this module holds what they exchange. PyTorch's DistributedDataParallel is not used.
Its hooks expect one backward pass after each forward pass. A step has two, and the penalty's pass goes through a graph
of gradients. Instead, the gradients of all backward passes of a step are summed once. The sum is exact: several
processes compute the gradient of one process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


def join(precision: str) -> Accelerator:
    """Return this process's accelerator, connected to the other processes of a launcher.

    ``precision``: as `train.precision`.
    """
    from accelerate import Accelerator  # late: a stage loads its files before it needs the processes

    # Without a GPU, Accelerate treats the processes of a launcher as unrelated unless ``cpu`` is set.
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(mixed_precision=precision, cpu=together and not torch.cuda.is_available())


def share(items: list[T], accelerator: Accelerator) -> list[T]:
    """Return this process's items; together, the processes have each item once."""
    return items[accelerator.process_index :: accelerator.num_processes]


def sum_gradients(model: nn.Module, accelerator: Accelerator) -> None:
    """Set every process's gradients to the sum over all processes."""
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
    """Return each value summed over the processes."""
    if accelerator.num_processes == 1:
        return values
    found: list[float] = accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").tolist()
    return found


def average_buffers(model: nn.Module, weight: float, accelerator: Accelerator) -> None:
    """Set every process's float buffers to the mean over all processes, weighted by ``weight``."""
    if accelerator.num_processes == 1:
        return
    (whole,) = totals([weight], accelerator)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(accelerator.reduce(buffer * (weight / whole), "sum"))


def positions(count: int, accelerator: Accelerator) -> list[int]:
    """Return this process's part of 0..count - 1; all parts are equally long, with the last position repeated."""
    each = -(-count // accelerator.num_processes)
    start = accelerator.process_index * each
    return [min(n, count - 1) for n in range(start, start + each)]


def gathered(part: Tensor, count: int, accelerator: Accelerator) -> Tensor:
    """Return the results of all processes at their ``positions``, (count, …), on every process and on the CPU."""
    if accelerator.num_processes > 1:
        part = accelerator.gather(part.to(accelerator.device))
    return part[:count].cpu()
