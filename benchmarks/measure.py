"""Measuring: ratios whose two sides are timed in turns, in one process.

Absolute times depend on the machine and on what else it does; ratios much less. Each is the median of several
runs, with the lowest and the highest beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True)
class Figure:
    """A measured number: the median of the runs, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        """The figure that some runs make."""
        return cls(statistics.median(values), min(values), max(values))


def ratio(slow: Callable[[], object], fast: Callable[[], object], runs: int = RUNS) -> Figure:
    """How many times as long ``slow`` takes as ``fast``; each run measures both, one after the other."""
    slow()  # once unmeasured: files come into the page cache, libraries get loaded
    fast()
    return Figure.of([seconds(slow) / seconds(fast) for _ in range(runs)])


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
