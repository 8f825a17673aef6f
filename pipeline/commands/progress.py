"""How far `lookaway demo` or `lookaway paper` has come: a line before each stage, with the time that is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Config, load
from pipeline.paths import PAGE, asked_file, backbone_file, prepared_dir, scores_file, screening_file, step_dir

BEGUN = "LOOKAWAY_BEGUN"  # the time at which the command began, in seconds since 1970, and the work done before
START = 1.0  # the work of a stage beside its epochs, in epochs
ENOUGH = 5.0  # epochs after which the pace is known: the first stages are short, and mostly start


def begin(config: Config) -> None:
    """Remember, for the stages, when the command began and what was done before."""
    done = sum(work for path, work in _work(config) if path.exists())
    os.environ[BEGUN] = f"{time.time()} {done}"


def say() -> None:
    """Print which stage begins and how long the rest takes, by the pace so far; nothing outside such a command.

    People take their own time, so that with them nobody knows how long the rest takes.
    """
    if BEGUN not in os.environ:
        return
    config = load()
    begun, before = map(float, os.environ[BEGUN].split())
    stages = [(path.exists(), work) for path, work in _work(config)]
    done = sum(work for is_done, work in stages if is_done)
    line = f"stage {sum(is_done for is_done, _ in stages) + 1} of {len(stages)}"
    if done - before >= ENOUGH and config.annotate.expert == "simulated":
        left = sum(work for is_done, work in stages if not is_done)
        line += f", about {_words((time.time() - begun) / (done - before) * left)} left"
    print(line, flush=True)


def _work(config: Config) -> Iterator[tuple[Path, float]]:
    """Yield an output of each stage of dvc.yaml, and the stage's work in epochs."""
    for name in config.datasets:
        yield prepared_dir(name), START
        yield screening_file(name), START
    for name in config.backbones:
        yield backbone_file(name), START
    epochs = sum(entry.epochs for entry in config.hitl.rounds)
    for name, scenario in config.scenarios.items():
        yield step_dir(name, "start") / "state.pt", START + scenario.train.baseline_epochs
        yield step_dir(name, "automated") / "state.pt", START + epochs
        yield scores_file(name), START
    for name in config.hitl.scenarios:
        for entry in config.hitl.rounds:
            step = step_dir(name, entry.n)
            yield step / "queries.json", START
            yield step / "answers.json", START
            yield step / "state.pt", START + entry.epochs
            yield asked_file(name, entry.n), START
        for arm in config.hitl.placebos:
            yield step_dir(name, arm) / "state.pt", START + epochs
    yield PAGE, START


def _words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return "a minute" if minutes else "half a minute"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
