"""What stays in memory when a data set has 75,000 images, as the paper's NCI has."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import method
from benchmarks.measure import Figure
from pipeline.config import QuerySettings
from pipeline.data.loading import Images, Rows
from pipeline.feedback import masks
from pipeline.models.classifier import Classifier
from pipeline.stages.query_export import choose
from pipeline.training import trainer

FEW, MANY = 5_000, 75_000
NCI, SIZE, CELLS, MARKED = 74_820, 224, 8, 5  # images; pixels a side; cells a side, and those that an expert marks
SIDE = 32  # pixels: what memory takes does not depend on it, and time does


def pool_scoring_rss_growth() -> Figure:
    """Peak memory while the queries are chosen among 75,000 images over that among 5,000.

    Memory is what the process has for itself. The pages of the mapped file that it has just read are not in it: they
    are the kernel's cache, which takes them back when somebody needs the room.
    """
    return Figure.of([_scored(MANY) / _scored(FEW) for _ in range(3)])


def mask_memory_mb_nci(images: int = NCI) -> Figure:
    """Megabytes of memory for a mask on every image of NCI, while training: the entries and the masks in force."""
    rng = np.random.default_rng(0)
    asked = _grid(rng.permutation(CELLS**2)[:10])
    tracemalloc.start()
    try:
        entries = [
            masks.Entry.of("00", f"{n:012x}", _grid(rng.permutation(CELLS**2)[:MARKED]), asked) for n in range(images)
        ]
        in_force = masks.in_force(entries)
        in_force[entries[0].image_id]
        held = tracemalloc.get_traced_memory()[0] / 1e6
    finally:
        tracemalloc.stop()
    return Figure.of([held * NCI / images])


FIGURES = {"pool_scoring_rss_growth": pool_scoring_rss_growth, "mask_memory_mb_nci": mask_memory_mb_nci}


def _grid(marked: NDArray[np.integer]) -> NDArray[np.bool_]:
    cells = np.zeros(CELLS**2, bool)
    cells[marked] = True
    side = SIZE // CELLS
    return cells.reshape(CELLS, CELLS).repeat(side, axis=0).repeat(side, axis=1)


def _scored(count: int) -> float:
    """Peak memory of a process of its own, megabytes."""
    command = [sys.executable, "-m", "benchmarks.memory", str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main(count: int) -> None:
    """Choose among so many images of a memory-mapped array, and print the peak in megabytes."""
    torch.manual_seed(0)
    state = trainer.begin(Classifier("test_efficientnet", ["a", "b"]), method.PAPER)  # timm's smallest
    settings = QuerySettings(strategy="entropy", cell=4, proposals=10)
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "images.npy"
        np.lib.format.open_memmap(array, "w+", np.uint8, (count, SIDE, SIDE, 3)).flush()  # takes no room on the disk
        pixels = Rows(np.load(array, mmap_mode="r"), np.arange(count))
        pool = Images([f"image-{n}" for n in range(count)], pixels, torch.zeros(count, dtype=torch.long))
        (Path(folder) / "images").mkdir()
        peak = _Peak()
        choose(state, pool, {}, 20, settings, 0, Path(folder))
        print(peak.stop())


class _Peak(threading.Thread):
    """Watches this process's own memory until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._megabytes, self._over = 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look twenty times a second."""
        while not self._over.wait(0.05):
            self._look()

    def stop(self) -> float:
        """The highest seen, megabytes."""
        self._over.set()
        self.join()
        self._look()
        return self._megabytes

    def _look(self) -> None:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        self._megabytes = max(self._megabytes, int(status["RssAnon"].split()[0]) / 1e3)


if __name__ == "__main__":
    main(int(sys.argv[1]))
