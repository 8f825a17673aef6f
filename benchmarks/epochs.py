"""An epoch without feedback against the least that anybody would write, and what its parts wait for.

EfficientNet-B0 at 224 x 224 pixels in batches of four, as in the paper, with weights and pictures drawn at random.
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

from benchmarks import method
from benchmarks.measure import RUNS, Figure, ratio, seconds
from pipeline.data import loading
from pipeline.data.loading import Images
from pipeline.training import trainer

COUNT = 64  # images of an epoch


def epoch_vs_plain_timm_ratio(count: int = COUNT) -> Figure:
    """Our epoch over that of a plain loop: timm's network, a DataLoader with a worker, torchvision's transforms.

    Both augment alike, ahead of the step that needs the batch, and train in channels-last with a fused Adam.
    """
    images, state = method.pictures(count), method.begin()
    network, loader = _plain(images)
    optimizer = torch.optim.Adam(network.parameters(), lr=method.PAPER.learning_rate, fused=True)

    def plain() -> None:
        network.train()
        for x, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(network(x.contiguous(memory_format=torch.channels_last)), labels)
            loss.backward()
            optimizer.step()
            float(loss.detach())  # as everybody logs it

    return ratio(lambda: _epoch(state, images), plain)


def waiting_for_data_share(count: int = COUNT) -> Figure:
    """The share of an epoch for which training waits until its next batch is made."""
    images, state = method.pictures(count), method.begin()
    made, waited = loading.batches, 0.0

    def timed(*arguments: Any) -> Iterator[Tensor]:
        nonlocal waited
        begin = time.perf_counter()
        for batch in made(*arguments):
            waited += time.perf_counter() - begin
            yield batch
            begin = time.perf_counter()

    def share() -> float:
        nonlocal waited
        waited = 0.0
        took = seconds(lambda: _epoch(state, images))
        return waited / took

    with mock.patch.object(loading, "batches", timed):
        share()  # once unmeasured
        return Figure.of([share() for _ in range(RUNS)])


def compiled_step_speedup() -> Figure:
    """A step of training by PyTorch over the same by ``torch.compile``, without the penalty, which it cannot do.

    Prints how long the first compiled step took: that is to be earned back by every stage anew.
    """
    network, batch = timm.create_model("tf_efficientnet_b0", num_classes=2), method.PAPER.batch_size
    network.to(memory_format=torch.channels_last).train()
    x = torch.rand(batch, 3, method.SIZE, method.SIZE).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(network)

    def step(which: Callable[[Tensor], Tensor]) -> None:
        network.zero_grad()
        which(x).square().sum().backward()

    print(f"the first compiled step took {seconds(lambda: step(compiled)):.0f} s", flush=True)
    return ratio(lambda: step(network), lambda: step(compiled))


def two_process_speedup() -> Figure:
    """An epoch by one process over the same epoch by two, a thread each: 2 is all that there is to gain."""
    return Figure.of([_launched(1) / _launched(2) for _ in range(3)])


FIGURES = {
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


def _plain(images: Images) -> tuple[torch.nn.Module, DataLoader[Any]]:
    network: torch.nn.Module = timm.create_model("tf_efficientnet_b0", num_classes=2)
    known = timm.data.resolve_model_data_config(network)
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomRotation(180, interpolation=InterpolationMode.BILINEAR),
            v2.RandomResizedCrop(method.SIZE, scale=(0.81, 1.0), ratio=(1.0, 1.0), antialias=False),
            v2.ColorJitter(brightness=0.1),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(known["mean"], known["std"]),
        ]
    )
    pictures, batch = _Pictures(images, transform), method.PAPER.batch_size
    loader = DataLoader(pictures, batch, shuffle=True, num_workers=1, persistent_workers=True)
    return network.to(memory_format=torch.channels_last), loader


def _epoch(state: trainer.State, images: Images) -> None:
    trainer.train_epoch(state, images, method.PAPER, 0, freeze_batchnorm=False)


def _launched(processes: int) -> float:
    """Seconds of an epoch that so many processes train together."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*command, "-m", "benchmarks.epochs"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """One of a launcher's processes: the first one prints how long the second epoch took, seconds."""
    images, state = method.pictures(COUNT), method.begin()
    _epoch(state, images)
    took = seconds(lambda: _epoch(state, images))
    if state.accelerator.is_main_process:
        print(took)
    state.accelerator.end_training()


if __name__ == "__main__":
    main()
