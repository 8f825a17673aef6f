"""`lookaway experiments`: run the cells without a result, and write the tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from pipeline.errors import ConfigError
from pipeline.experiments import cells, evidence, tables
from pipeline.experiments.catalogue import EXPERIMENTS

Cell = tuple[str, str, int]  # experiment, variant, seed


def main(names: list[str], *, seeds: int | None, jobs: int | None) -> None:
    """Print the cells to run and their cost, run them, and write the tables and report/evidence.json.

    All variants of an experiment's seed run before its next seed. An interrupted cell resumes after its last epoch.

    Args:
        names: Names of experiments; an empty list means all experiments.
        seeds: The number of seeds; None means the published number.
        jobs: The number of cells that run at a time, one core each; None means one per core.

    Raises:
        ConfigError: A name is unknown.
    """
    check_names(names, EXPERIMENTS, kind="experiment")
    jobs = jobs or os.cpu_count() or 1
    todo = [
        (name, variant, seed)
        for name in names or EXPERIMENTS
        for seed in range(seeds or EXPERIMENTS[name].seeds)
        for variant in EXPERIMENTS[name].variants
        if cells.result(name, variant, seed) is None
    ]
    for name in dict.fromkeys(name for name, _, _ in todo):
        about, count = EXPERIMENTS[name], sum(cell[0] == name for cell in todo)
        print(f"{name}: {about.question} {count} cells of about {about.minutes:g} minutes each", flush=True)
    minutes = sum(EXPERIMENTS[name].minutes for name, _, _ in todo)
    print(f"{len(todo)} cells to run, about {minutes / 60 / jobs:.1f} hours", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        for (name, variant, seed), _ in zip(todo, pool.map(_run, todo), strict=True):
            print(f"done: {name}{f', {variant}' if variant else ''}, seed {seed}", flush=True)
            tables.write([name])
    tables.write(list(EXPERIMENTS))
    evidence.write()


def check_names(names: list[str], known: Iterable[str], *, kind: str) -> None:
    """Raise ConfigError if a name is unknown; ``kind`` says in the message which names these are."""
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f"no {kind} {', '.join(unknown)}. Fix: choose from {', '.join(known)}")


def _run(cell: Cell) -> None:
    """Run a cell on one core: several cells run at a time."""
    import torch

    torch.set_num_threads(1)
    experiment, variant, seed = cell
    cells.run(experiment, variant, seed)
