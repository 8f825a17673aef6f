"""The demo: the whole loop on the embedded data set, and what came out of it.

Runs `dvc repro`, in which `annotate` starts a local Label Studio unless one is configured, and stops what
was started. Everything it does can be done by hand: `dvc --wait-for-lock repro`, then
`python -m labelstudio.server stop`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from labelstudio import server
from labelstudio.records import AnnotationError
from pipeline.config import REPORT, Config, load, step_dir
from pipeline.errors import PipelineError

PARAMS = Path("params.yaml")


def main(expert: str) -> None:
    """Run everything that is out of date with this kind of expert, and say what it means."""
    choose_expert(expert)
    config = load(PARAMS)
    ours = server.status() is None
    try:
        if expert == "human":
            url, *_ = server.connect()
            print(f"\nExperts answer in Label Studio at {url}", flush=True)
            if server.status() == url:
                subprocess.run([sys.executable, "-m", "labelstudio.server", "login"], check=True)
            print("Interrupt whenever you like: the same command goes on from there.\n", flush=True)
        elif _asks_anything(config):
            server.start_early()  # half a minute's work, which goes on while the baseline trains
        done = subprocess.run(["dvc", "--wait-for-lock", "repro"], check=False)
    finally:
        if ours:
            server.stop()
    if done.returncode:
        sys.exit(done.returncode)
    print(f"\n{(REPORT / 'table.md').read_text(encoding='utf-8')}")
    for scenario in config.hitl.scenarios:
        print(f"What was asked:      runs/{scenario}/{config.hitl.rounds[0].n}/images/")
        print(f"What each arm sees:  report/explanations/{scenario}.png")
        print(f"How training went:   report/curves/{scenario}.png")
    print("MLflow:              .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db")
    print("                     then http://127.0.0.1:5000/#/experiments/1?workflowType=machine_learning")
    print("Label Studio:        .venv/bin/python -m labelstudio.server start   (then `… login`, and `… stop`)")


def _asks_anything(config: Config) -> bool:
    steps = [step_dir(scenario, entry.n) for scenario in config.hitl.scenarios for entry in config.hitl.rounds]
    return not all((step / "answers.json").exists() for step in steps)


def choose_expert(expert: str) -> None:
    """Set `annotate.expert` in params.yaml, if it is another one; comments and order stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(PARAMS)
    if document["annotate"]["expert"] != expert:
        document["annotate"]["expert"] = expert
        yaml.dump(document, PARAMS)
        print(f"params.yaml: annotate.expert is now {expert}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expert", choices=["simulated", "human"], default="simulated")
    try:
        main(parser.parse_args().expert)
    except (AnnotationError, PipelineError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing is lost; run the same command to go on")
