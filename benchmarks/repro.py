"""The overhead of the stages and of DVC, in a copy of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import project
from benchmarks.measure import RUNS, Figure, Figures, seconds
from labelstudio.server import local


def demo_overhead_ratio() -> Figure:
    """Time of `dvc repro` from nothing, with a simulated expert, over the time of the same arms in one process.

    The overhead is the start of each stage, DVC's own work, Label Studio's API, pictures, report and MLflow. The start
    of Label Studio is excluded, because `make demo` starts it while the baseline trains. Both sides are measured twice,
    the second time in reverse order, because a machine's speed drifts.
    """
    ratios = []
    for order in ((_whole_s, _bare_s), (_bare_s, _whole_s)):
        took = {part: part() for part in order}
        print(f"{took[_whole_s]:.0f} s over {took[_bare_s]:.0f} s", flush=True)
        ratios.append(took[_whole_s] / took[_bare_s])
    return Figure.of(ratios)


def noop_repro_s(rounds: int = 64, runs: int = RUNS) -> Figure:
    """Seconds of `dvc repro` in a project of so many rounds (64 rounds: 264 stages) with nothing to do."""
    with finished(rounds) as folder:
        return Figure.of([seconds(lambda: repro(folder)) for _ in range(runs)])


FIGURES: Figures = {"demo_overhead_ratio": demo_overhead_ratio, "noop_repro_s": noop_repro_s}


@contextmanager
def finished(rounds: int) -> Iterator[Path]:
    """The demo's project with so many rounds, all of whose stages DVC takes for done; outputs have a few bytes each."""
    params, ns = _settings(), [f"{n:03d}" for n in range(rounds)]
    after = ["start", *ns]
    params["hitl"] |= {
        "rounds": [{"n": n, "after": after[i], "queries": 1, "epochs": 1} for i, n in enumerate(ns)],
        "last": ns[-1],
    }
    with project.copy(params) as folder:
        project.run_program(folder, "pretend_done")
        yield folder


def repro(folder: Path) -> None:
    """Run `dvc repro` in a copy."""
    project.call(folder, "dvc", "repro")


def _whole_s() -> float:
    with project.copy(_settings()) as folder:
        local.start(folder / ".labelstudio")
        try:
            return seconds(lambda: repro(folder))
        finally:
            local.stop(folder / ".labelstudio")


def _bare_s() -> float:
    with project.copy(_settings()) as folder:
        return seconds(lambda: project.run_program(folder, "bare_loop"))


def _settings() -> dict[str, Any]:
    params = project.settings()
    params["annotate"]["expert"] = "simulated"
    return params
