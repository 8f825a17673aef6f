"""``python -m pipeline.experiments [NAME …] [--seeds N] [--jobs N]``: run what has not run yet, cheapest seeds first.

Interrupt it whenever you like; the same command goes on where it was, after the last whole epoch.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from pipeline.commands.repro import run
from pipeline.experiments import catalogue, cells, tables


def main(names: list[str], seeds: int | None, jobs: int) -> None:
    """Say what is to be run and what it costs, and run it."""
    todo = [
        (name, variant, seed)
        for name in names or catalogue.EXPERIMENTS
        for seed in range(seeds or catalogue.EXPERIMENTS[name].seeds)
        for variant in catalogue.EXPERIMENTS[name].variants
        if cells.result(name, variant, seed) is None
    ]
    for name in dict.fromkeys(name for name, *_ in todo):
        about = catalogue.EXPERIMENTS[name]
        count = sum(cell[0] == name for cell in todo)
        print(f"{name}: {about.question} {count} cells of about {about.minutes:g} minutes each", flush=True)
    total = sum(catalogue.EXPERIMENTS[name].minutes for name, *_ in todo)
    print(f"{len(todo)} cells to run, about {total / 60 / jobs:.1f} hours", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        for cell, _ in zip(todo, pool.map(_one, todo), strict=True):
            print(f"=== {' '.join(map(str, cell))}: done", flush=True)
            tables.write([cell[0]])
    tables.write(list(catalogue.EXPERIMENTS))


def _one(cell: tuple[str, str, int]) -> None:
    """A cell on one core, so that several do not get into each other's way."""
    import torch

    torch.set_num_threads(1)
    cells.run(*cell)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(catalogue.EXPERIMENTS))
    parser.add_argument("--seeds", type=int, help="so many instead of those that are published")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cells at a time, one core each")
    given = parser.parse_args()
    if unknown := set(given.names) - set(catalogue.EXPERIMENTS):
        sys.exit(f"error: no experiment {', '.join(sorted(unknown))}; choose from {', '.join(catalogue.EXPERIMENTS)}")
    run(main, names=given.names, seeds=given.seeds, jobs=given.jobs)
