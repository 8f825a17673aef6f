"""Temporary projects: copies of this one, their settings, and the environment of their processes."""

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

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
READ = ("pipeline", "labelstudio", ".dvcignore", "constraints.txt", "dvc.yaml")  # by `dvc repro`, beside params.yaml
SERVICES = ("LABEL_STUDIO", "ANNOTATE", "MLFLOW", "DVC")  # variables that lead to a user's own services


def settings() -> dict[str, Any]:
    """Return the settings of this project's params.yaml."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params


@contextmanager
def copy(params: dict[str, Any]) -> Iterator[Path]:
    """A copy of all files that `dvc repro` reads, with these settings, as a repository of Git and DVC."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in READ:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder / part)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        call(folder, "git", "init", "--quiet")
        call(folder, "dvc", "init", "--quiet")
        yield folder


def call(folder: Path, *command: str) -> None:
    """Run a command in a copy; raises RuntimeError with its output if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command[:2])}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def run_program(folder: Path, name: str) -> None:
    """Run one of ``benchmarks/programs`` in a copy, with the copy's modules."""
    call(folder, sys.executable, str(PROGRAMS / f"{name}.py"))


def environment(modules: Path = ROOT) -> dict[str, str]:
    """Return this environment with the modules of a project, with bytecode, and without the user's services."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SERVICES)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # a stage imports PyTorch, which takes twice as long without bytecode
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"  # dvc.yaml runs `python`
    return kept | {"PATH": path, "PYTHONPATH": str(modules), "DVC_NO_ANALYTICS": "true"}
