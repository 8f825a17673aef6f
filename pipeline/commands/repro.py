"""`dvc repro` with a Label Studio where experts need one, and a summary of the result.

By hand: `dvc --wait-for-lock repro`, then `lookaway server stop`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from labelstudio.server import local
from pipeline.commands.server import print_passwords
from pipeline.config import Config, load
from pipeline.errors import DataError, listed
from pipeline.paths import PAGE, REPORT, curves_file, explanations_file, step_dir

RUN_CACHE = Path(".dvc/cache/runs")
COMPARISON = "viewStateShareKey=comparison&compareRunsMode=CHART&workflowType=machine_learning"  # MLflow's view


def repro() -> None:
    """Run everything that is out of date with params.yaml, and print what it means."""
    config = load()
    _check_roots(config)
    is_ours = local.status() is None
    try:
        if config.annotate.expert == "human":
            _show_login()
        elif _has_open_rounds(config):
            local.start_early()  # it takes half a minute, while the baseline trains
        forget_unwritten()
        done = subprocess.run(["dvc", "--wait-for-lock", "repro"], check=False)
    finally:
        if is_ours:
            local.stop()
    if done.returncode:
        sys.exit(done.returncode)
    print(f"\n{(REPORT / 'table.md').read_text(encoding='utf-8')}")
    for scenario in config.hitl.scenarios:
        print(f"Queries:             {step_dir(scenario, config.hitl.rounds[0].n)}/images/")
        print(f"Explanations:        {explanations_file(scenario)}")
        print(f"Curves:              {curves_file(scenario)}")
    print(f"The whole report:    {PAGE}")
    print("MLflow:              .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db, then")
    print(f"                     http://127.0.0.1:5000/#/experiments/1/runs?{COMPARISON}")
    print("Label Studio:        .venv/bin/lookaway server start   (then `… login`, and `… stop`)")


def forget_unwritten(run_cache: Path = RUN_CACHE) -> None:
    """Remove the empty folders of DVC's run cache.

    On a full disk, DVC makes the folder of an entry and cannot write the entry. From then on, each `dvc repro` would
    end with "join() argument must be str, bytes, or os.PathLike object, not 'NoneType'" (DVC 3.67).
    """
    for folder in sorted(run_cache.glob("*/*"), reverse=True):
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def _check_roots(config: Config) -> None:
    """Raise DataError naming the data sets whose files are missing; DVC would name the path alone."""
    missing = [
        f"datasets.{name}.root: {one.root}" for name, one in config.datasets.items() if not Path(one.root).exists()
    ]
    if missing:
        raise DataError(
            f"{len(missing)} data sets have no files. Fix: put them there, or correct these settings in params.yaml:\n"
            f"{listed(missing)}"
        )


def _show_login() -> None:
    url, *_ = local.connect()
    print(f"\nExperts answer in Label Studio at {url}", flush=True)
    if local.status() == url:
        print_passwords(local.start())
    print("You may interrupt at any time: the same command resumes.\n", flush=True)


def _has_open_rounds(config: Config) -> bool:
    steps = [step_dir(scenario, entry.n) for scenario in config.hitl.scenarios for entry in config.hitl.rounds]
    return not all((step / "answers.json").exists() for step in steps)
