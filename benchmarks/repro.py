"""What the stages and DVC add to the computation, in a copy of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import RUNS, Figure, seconds
from labelstudio.server import local

READ = ("pipeline", "labelstudio", "dvc.yaml", "params.yaml", "constraints.txt")  # by `dvc repro`


def demo_overhead_ratio() -> Figure:
    """`dvc repro` from nothing, simulated expert, over the same data, arms and readings in one process.

    In the difference are the start of each stage, DVC's own work, Label Studio's API, pictures, report and MLflow; not
    the start of Label Studio itself, which `make demo` has done by the time that the baseline is trained. Measured
    twice, the second time the other way round: a machine's speed drifts.
    """
    ratios = []
    for order in ((_whole_s, _bare_s), (_bare_s, _whole_s)):
        took = {part: part() for part in order}
        print(f"{took[_whole_s]:.0f} s over {took[_bare_s]:.0f} s", flush=True)
        ratios.append(took[_whole_s] / took[_bare_s])
    return Figure.of(ratios)


def _whole_s() -> float:
    with _project(_settings()) as folder:
        local.start(folder / ".labelstudio")
        try:
            _init(folder)
            return seconds(lambda: repro(folder))
        finally:
            local.stop(folder / ".labelstudio")


def _bare_s() -> float:
    with _project(_settings()) as folder:
        return seconds(lambda: _call(folder, sys.executable, "-c", BARE))


def noop_repro_s(rounds: int = 64) -> Figure:
    """Seconds of `dvc repro` in a project of 199 stages, none of which is out of date."""
    with finished(rounds) as folder:
        return Figure.of([seconds(lambda: repro(folder)) for _ in range(RUNS)])


FIGURES = {"demo_overhead_ratio": demo_overhead_ratio, "noop_repro_s": noop_repro_s}

BARE = """
from pathlib import Path
from pipeline import attention
from pipeline.config import load
from pipeline.experiments import cells

config = load()
(scenario,) = config.hitl.scenarios
loop = cells.begin(config, scenario, Path("loop"))
outcomes = cells.trained(loop, ("automated", "hitl", *config.hitl.placebos), None)
for arm, outcome in outcomes.items():
    cells.reading(loop, arm, outcome, outcomes["hitl"], attention.QUICK)
"""


@contextmanager
def finished(rounds: int) -> Iterator[Path]:
    """A project of so many rounds, three stages each, and seven stages beside, that DVC takes for done.

    The demo's but for that; what stages would write is there as files of a few bytes.
    """
    params, ns = _settings(), [f"{n:03d}" for n in range(rounds)]
    after = ["start", *ns]
    params["hitl"] |= {
        "rounds": [{"n": n, "after": after[i], "queries": 1, "epochs": 1} for i, n in enumerate(ns)],
        "last": ns[-1],
    }
    with _project(params) as folder:
        _init(folder)
        _call(folder, sys.executable, "-c", PRETEND)
        yield folder


def repro(folder: Path) -> None:
    """`dvc repro` there."""
    _call(folder, "dvc", "repro")


PRETEND = """
from pathlib import Path
from dvc.repo import Repo

with Repo() as repo:
    for out in repo.index.outs:
        path = Path(out.fs_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    repo.commit(force=True)
"""


def _settings() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["annotate"]["expert"] = "simulated"
    return params


@contextmanager
def _project(params: dict[str, Any]) -> Iterator[Path]:
    """A copy of all that the stages read, with these settings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in map(Path, READ):
            if part.is_dir():
                shutil.copytree(part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(part, folder / part)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        yield folder


def _init(folder: Path) -> None:
    _call(folder, "git", "init", "--quiet")
    _call(folder, "dvc", "init", "--quiet")


def _call(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _environment() -> dict[str, str]:
    """This one, in which the copy's modules are found first, and its own Label Studio and MLflow."""
    ours = ("LABEL_STUDIO", "MLFLOW", "DVC")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PYTHONPATH": ""}
