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

from labelstudio import server
from pipeline.bench.measure import RUNS, Figure, seconds

READ = ("pipeline", "labelstudio", "dvc.yaml", "params.yaml", "constraints.txt")  # by `dvc repro`


def demo_overhead_ratio() -> Figure:
    """`dvc repro` from nothing, simulated expert, over the same data, arms and readings in one process.

    In the difference are the start of each stage, DVC's own work, Label Studio's API, pictures, report and MLflow; not
    the start of Label Studio itself, which `make demo` has done by the time that the baseline is trained.
    """
    with _project(_settings()) as folder:
        server.start(folder / ".labelstudio")
        try:
            _init(folder)
            whole = seconds(lambda: _call(folder, "dvc", "repro"))
        finally:
            server.stop(folder / ".labelstudio")
    with _project(_settings()) as folder:
        bare = seconds(lambda: _call(folder, sys.executable, "-c", BARE))
    return Figure.of([whole / bare])


def noop_repro_s(stages: int = 200) -> Figure:
    """Seconds of `dvc repro` in a project of so many stages, none of which is out of date."""
    with finished(stages) as (folder, _):
        return Figure.of([seconds(lambda: _call(folder, "dvc", "repro")) for _ in range(RUNS)])


FIGURES = {"demo_overhead_ratio": demo_overhead_ratio, "noop_repro_s": noop_repro_s}

BARE = """
import sys
from pathlib import Path
from pipeline.config import load
from pipeline.experiments import cells
from pipeline.experiments.loop import Loop

config = load()
(scenario,) = config.hitl.scenarios
data = cells._prepared(config, config.scenario(scenario).dataset)
cells._backbones(config)
loop = Loop(config, scenario, data, Path("loop"))
outcomes = {"baseline": loop.baseline(), "hitl": loop.arm("hitl")}
outcomes |= {arm: loop.arm(arm, outcomes["hitl"]) for arm in ("automated", *config.hitl.placebos)}
for arm, outcome in outcomes.items():
    cells._reading(loop, arm, outcome, outcomes["hitl"])
"""


@contextmanager
def finished(stages: int) -> Iterator[tuple[Path, int]]:
    """A project of about so many stages that DVC takes for done, and how many they are.

    The demo's, with more rounds; what stages would write is there as files of a few bytes.
    """
    params = _settings()
    others = 7  # prepare, backbone, baseline, automated, a placebo, evaluate, compare
    ns = [f"{n:03d}" for n in range((stages - others) // 3)]
    params["hitl"] |= {
        "rounds": [{"n": n, "after": a, "queries": 1, "epochs": 1} for n, a in zip(ns, ["start", *ns], strict=False)],
        "last": ns[-1],
        "placebos": params["hitl"]["placebos"][:1],
    }
    with _project(params) as folder:
        _init(folder)
        done = subprocess.run(
            [sys.executable, "-c", PRETEND], cwd=folder, env=_environment(), capture_output=True, text=True, check=True
        )
        yield folder, int(done.stdout.splitlines()[-1])


PRETEND = """
from pathlib import Path
from dvc.repo import Repo

with Repo() as repo:
    stages = list(repo.index.stages)
    for out in repo.index.outs:
        path = Path(out.fs_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    repo.commit(force=True)
print(len(stages))
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
