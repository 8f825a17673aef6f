"""``python -m benchmarks.programs.pool_memory COUNT``: peak memory while queries are chosen among ``COUNT`` images.

Memory is the process's own. Pages of the memory-mapped file are the kernel's cache and do not count.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch

from benchmarks import method
from pipeline.config import QuerySettings
from pipeline.data.loading import Images, Rows
from pipeline.models.classifier import Classifier
from pipeline.query.selection import choose
from pipeline.training import states

SIDE = 32  # pixels: time depends on it, and memory does not
INTERVAL_S = 0.05  # between two looks at the memory


def main(count: int) -> None:
    """Choose queries among so many images of a memory-mapped array, and print the peak in megabytes."""
    torch.manual_seed(0)
    state = states.begin(Classifier(method.SMALLEST, ["a", "b"]), method.PAPER)
    settings = QuerySettings(strategy="entropy", cell=4, proposals=10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        array = folder / "images.npy"
        np.lib.format.open_memmap(array, "w+", np.uint8, (count, SIDE, SIDE, 3)).flush()  # sparse: no room on the disk
        pixels = Rows(np.load(array, mmap_mode="r"), np.arange(count))
        pool = Images([f"image-{n}" for n in range(count)], pixels, torch.zeros(count, dtype=torch.long))
        peak = _Peak()
        choose(state, pool, asked={}, count=20, settings=settings, seed=0, folder=folder)
        print(peak.stop())


class _Peak(threading.Thread):
    """Watches this process's own memory until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._megabytes, self._over = 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look until the end."""
        while not self._over.wait(INTERVAL_S):
            self._look()

    def stop(self) -> float:
        """Return the highest value seen, megabytes."""
        self._over.set()
        self.join()
        self._look()
        return self._megabytes

    def _look(self) -> None:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        self._megabytes = max(self._megabytes, int(status["RssAnon"].split()[0]) / 1e3)


if __name__ == "__main__":
    main(int(sys.argv[1]))
