"""Measured figures: ratios of two sides that take turns in one process, and repeated values.

Absolute times depend on the machine and its load; ratios depend on them much less. Each figure is the median of several
runs, with the lowest and the highest run beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True)
class Figure:
    """A measured number: the median of the runs, the lowest run and the highest run."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        """Return the figure of some runs."""
        return cls(statistics.median(values), min(values), max(values))


Figures = dict[str, Callable[..., Figure]]  # keyword arguments make a figure smaller; the defaults are published


def ratio(slow: Callable[[], object], fast: Callable[[], object], runs: int = RUNS) -> Figure:
    """Return the time of ``slow`` over the time of ``fast``; each run measures both, one after the other."""
    slow()  # once unmeasured: files enter the page cache, and libraries are loaded
    fast()
    return Figure.of([seconds(slow) / seconds(fast) for _ in range(runs)])


def seconds(function: Callable[[], object]) -> float:
    """Return the duration of a call, seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
