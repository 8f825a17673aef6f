"""`dvc repro` with everything around it: a Label Studio where one is needed, and what came out of it.

Everything here can be done by hand: `dvc --wait-for-lock repro`, then `python -m labelstudio.server.local stop`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from dotenv import load_dotenv

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import local
from pipeline.config import Config, load
from pipeline.errors import PipelineError
from pipeline.paths import PAGE, REPORT, curves_file, explanations_file, step_dir

COMPARISON = "viewStateShareKey=comparison&compareRunsMode=CHART&workflowType=machine_learning"  # MLflow's view


def repro() -> None:
    """Run everything that is out of date with params.yaml, and say what it means."""
    config = load()
    ours = local.status() is None
    try:
        if config.annotate.expert == "human":
            url, *_ = local.connect()
            print(f"\nExperts answer in Label Studio at {url}", flush=True)
            if local.status() == url:
                subprocess.run([sys.executable, "-m", "labelstudio.server.local", "login"], check=True)
            print("Interrupt whenever you like: the same command goes on from there.\n", flush=True)
        elif _asks_anything(config):
            local.start_early()  # half a minute's work, which goes on while the baseline trains
        done = subprocess.run(["dvc", "--wait-for-lock", "repro"], check=False)
    finally:
        if ours:
            local.stop()
    if done.returncode:
        sys.exit(done.returncode)
    print(f"\n{(REPORT / 'table.md').read_text(encoding='utf-8')}")
    for scenario in config.hitl.scenarios:
        print(f"What was asked:      {step_dir(scenario, config.hitl.rounds[0].n)}/images/")
        print(f"What each arm sees:  {explanations_file(scenario)}")
        print(f"How training went:   {curves_file(scenario)}")
    print(f"All of it:           {PAGE}")
    print("MLflow:              .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db, then")
    print(f"                     http://127.0.0.1:5000/#/experiments/1/runs?{COMPARISON}")
    print("Label Studio:        .venv/bin/python -m labelstudio.server.local start   (then `… login`, and `… stop`)")


def run(main: Callable[..., None], **arguments: str | None) -> None:
    """Run a command in the environment and what ``.env`` adds; what a user can put right ends with a message."""
    load_dotenv(".env")
    try:
        main(**arguments)
    except (AnnotationError, PipelineError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing is lost; run the same command to go on")


def _asks_anything(config: Config) -> bool:
    steps = [step_dir(scenario, entry.n) for scenario in config.hitl.scenarios for entry in config.hitl.rounds]
    return not all((step / "answers.json").exists() for step in steps)
