"""Memory for a data set of 75,000 images, as many as the paper's NCI has."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
from numpy.typing import NDArray

from benchmarks import project
from benchmarks.measure import Figure, Figures
from pipeline.feedback import masks

FEW, MANY = 5_000, 75_000
NCI, SIZE, CELLS, MARKED = 74_820, 224, 8, 5  # images; pixels a side; cells a side; cells that an expert marks


def pool_scoring_rss_growth(few: int = FEW, many: int = MANY, runs: int = 3) -> Figure:
    """Peak memory while queries are chosen among many images over the peak among few.

    Memory is the process's own. Pages of the memory-mapped file are the kernel's cache, which the kernel takes back
    when other programs need room.
    """
    return Figure.of([_peak_mb(many) / _peak_mb(few) for _ in range(runs)])


def mask_memory_mb_nci(images: int = NCI) -> Figure:
    """Megabytes for a mask on every image of NCI during training: the entries and the masks in force."""
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


FIGURES: Figures = {
    "pool_scoring_rss_growth": pool_scoring_rss_growth,
    "mask_memory_mb_nci": mask_memory_mb_nci,
}


def _grid(marked: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return the area (SIZE, SIZE) of some cells of the grid."""
    cells = np.zeros(CELLS**2, bool)
    cells[marked] = True
    side = SIZE // CELLS
    return cells.reshape(CELLS, CELLS).repeat(side, axis=0).repeat(side, axis=1)


def _peak_mb(count: int) -> float:
    """Return the peak memory of a new process that chooses among so many images, megabytes."""
    command = [sys.executable, "-m", "benchmarks.programs.pool_memory", str(count)]
    done = subprocess.run(command, env=project.environment(), capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])
