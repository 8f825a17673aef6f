"""An epoch without feedback against a hand-written loop, and the waiting times of its parts.

EfficientNet-B0 at 224 x 224 pixels in batches of four, as in the paper, with random weights and pictures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import timm
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from benchmarks import method, project
from benchmarks.measure import RUNS, Figure, Figures, ratio, seconds
from pipeline.data import loading
from pipeline.data.loading import Images
from pipeline.training.epoch import train_epoch
from pipeline.training.states import State

COUNT = 64  # images of an epoch


def epoch_vs_plain_timm_ratio(count: int = COUNT, size: int = method.SIZE, runs: int = RUNS) -> Figure:
    """Time of an epoch over the time of a plain loop's epoch.

    The plain loop has timm's network, a DataLoader with a worker, and torchvision's transforms.

    Both augment alike and ahead of the training step, and train in channels-last with a fused Adam.
    """
    images, state = method.pictures(count, size), method.begin()
    network, loader = plain_loop(images)
    optimizer = torch.optim.Adam(network.parameters(), lr=method.PAPER.learning_rate, fused=True)

    def plain() -> None:
        network.train()
        for x, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(network(x.contiguous(memory_format=torch.channels_last)), labels)
            loss.backward()
            optimizer.step()
            float(loss.detach())  # for the log, as usual

    return ratio(lambda: train_once(state, images), plain, runs)


def waiting_for_data_share(count: int = COUNT, size: int = method.SIZE, runs: int = RUNS) -> Figure:
    """The share of an epoch for which training waits for its next batch."""
    images, state = method.pictures(count, size), method.begin()
    load, waited = loading.batches, 0.0

    def timed(*arguments: Any, **named: Any) -> Iterator[Tensor]:
        nonlocal waited
        begin = time.perf_counter()
        for batch in load(*arguments, **named):
            waited += time.perf_counter() - begin
            yield batch
            begin = time.perf_counter()

    def share() -> float:
        nonlocal waited
        waited = 0.0
        took = seconds(lambda: train_once(state, images))
        return waited / took

    with mock.patch.object(loading, "batches", timed):
        share()  # once unmeasured
        return Figure.of([share() for _ in range(runs)])


def compiled_step_speedup(
    architecture: str = method.NETWORK, size: int = method.SIZE, backend: str = "inductor", runs: int = RUNS
) -> Figure:
    """Time of a training step by PyTorch over its time by ``torch.compile``, without the penalty.

    ``torch.compile`` cannot compile the penalty. Prints the duration of the first compiled step, which every stage
    would pay.
    """
    network, batch = timm.create_model(architecture, num_classes=2), method.PAPER.batch_size
    network.to(memory_format=torch.channels_last).train()
    x = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    compiled: Callable[[Tensor], Tensor] = torch.compile(network, backend=backend)

    def step(which: Callable[[Tensor], Tensor]) -> None:
        network.zero_grad()
        which(x).square().sum().backward()

    print(f"first compiled step: {seconds(lambda: step(compiled)):.0f} s", flush=True)
    return ratio(lambda: step(network), lambda: step(compiled), runs)


def two_process_speedup(
    processes: tuple[int, int] = (1, 2), count: int = COUNT, size: int = method.SIZE, runs: int = 3
) -> Figure:
    """Time of an epoch by one process over its time by two, one thread each; the limit is 2."""
    one, two = processes
    return Figure.of([_launched(one, count, size) / _launched(two, count, size) for _ in range(runs)])


FIGURES: Figures = {
    "epoch_vs_plain_timm_ratio": epoch_vs_plain_timm_ratio,
    "waiting_for_data_share": waiting_for_data_share,
    **({"compiled_step_speedup": compiled_step_speedup} if shutil.which("c++") else {}),
    **({"two_process_speedup": two_process_speedup} if (os.cpu_count() or 1) > 1 else {}),
}


class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, images: Images, transform: v2.Transform) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images.ids)

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor]:
        picture = torch.from_numpy(self.images.pixels[n]).permute(2, 0, 1)
        return self.transform(picture), self.images.labels[n]


def plain_loop(images: Images) -> tuple[torch.nn.Module, DataLoader[Any]]:
    """Return timm's network and a DataLoader that augments these images as the paper does."""
    network: torch.nn.Module = timm.create_model(method.NETWORK, num_classes=2)
    known = timm.data.resolve_model_data_config(network)
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomRotation(180, interpolation=InterpolationMode.BILINEAR),
            v2.RandomResizedCrop(images.pixels[:1].shape[1], scale=(0.81, 1.0), ratio=(1.0, 1.0), antialias=False),
            v2.ColorJitter(brightness=0.1),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(known["mean"], known["std"]),
        ]
    )
    pictures, batch = _Pictures(images, transform), method.PAPER.batch_size
    loader = DataLoader(pictures, batch, shuffle=True, num_workers=1, persistent_workers=True)
    return network.to(memory_format=torch.channels_last), loader


def train_once(state: State, images: Images) -> None:
    """Train one epoch without feedback."""
    train_epoch(state, images, method.PAPER, seed=0, freeze_batchnorm=False)


def _launched(processes: int, count: int, size: int) -> float:
    """Return the seconds of an epoch that so many processes train together."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*launcher, "-m", "benchmarks.programs.epoch", str(count), str(size)],
        env=project.environment() | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1])
