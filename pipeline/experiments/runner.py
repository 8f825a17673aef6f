"""`lookaway experiments`: run the cells that have no result yet, and write their tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from pipeline.errors import ConfigError
from pipeline.experiments import catalogue, cells, tables
from pipeline.experiments.catalogue import EXPERIMENTS

Cell = tuple[str, str, int]  # experiment, variant, seed


def main(names: list[str], *, seeds: int | None, jobs: int | None) -> None:
    """Print what is to be run and what it costs, and run it, cheapest seeds first.

    An interrupted cell resumes after its last whole epoch.

    Args:
        names: Names of experiments; none stands for all of them.
        seeds: How many seeds; None stands for those that are published.
        jobs: How many cells to run at a time, one core each; None stands for one per core.
    """
    check_names(names, EXPERIMENTS)
    jobs = jobs or os.cpu_count() or 1
    todo = [
        (name, variant, seed)
        for name in names or EXPERIMENTS
        for seed in range(seeds or EXPERIMENTS[name].seeds)
        for variant in EXPERIMENTS[name].variants
        if cells.result(name, variant, seed) is None
    ]
    for name in dict.fromkeys(name for name, *_ in todo):
        about = catalogue.EXPERIMENTS[name]
        count = sum(cell[0] == name for cell in todo)
        print(f"{name}: {about.question} {count} cells of about {about.minutes:g} minutes each", flush=True)
    minutes = sum(EXPERIMENTS[name].minutes for name, *_ in todo)
    print(f"{len(todo)} cells to run, about {minutes / 60 / jobs:.1f} hours", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        for cell, _ in zip(todo, pool.map(_run, todo), strict=True):
            print(f"=== {' '.join(map(str, cell))}: done", flush=True)
            tables.write([cell[0]])
    tables.write(list(EXPERIMENTS))


def check_names(names: list[str], known: Iterable[str]) -> None:
    """Raise ConfigError if a name is unknown."""
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f"no experiment {', '.join(unknown)}. Fix: choose from {', '.join(known)}")


def _run(cell: Cell) -> None:
    """Run a cell on one core, so that several cells do not share one."""
    import torch

    torch.set_num_threads(1)
    cells.run(*cell)
