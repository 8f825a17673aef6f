"""`make experiments`: the demo's scenario with several seeds, then the paper's scenarios whose data are here.

Each seed is a DVC experiment of its own (`dvc exp run --temp`), so the working tree stays as it is, what
has run is found in DVC's run cache, and `dvc exp show` lists it. The paper's scenarios run as `make paper`
does it. Run it again to go on after an interruption. Cost on 2 CPU cores: about eight minutes a seed; an
hour for 10% of ISIC2017, ten minutes for 10% of 500 fundus photographs. Simulated experts answer;
`annotate.expert` in params.yaml must say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from labelstudio import server
from pipeline import paper, params, tracking
from pipeline.config import ConfigError, load
from pipeline.paths import REPORT
from pipeline.repro import run

SEEDS = (0, 1, 2)
PAPER = {"isic2017": "isic2017-10pct", "aptos2019": "aptos2019-10pct"}
BACKBONE = "efficientnet-lite0"  # whose weights need no network


def main() -> None:
    """Run what has not run yet, then write report/experiments.md."""
    params.restore_committed()  # an interrupted run may have left the paper's
    config = load()
    scenario = config.hitl.scenarios[0]
    if config.annotate.expert != "simulated":
        raise ConfigError("experiments ask a simulated expert; set `annotate.expert: simulated` in params.yaml")
    # Experiments run in folders of their own, but with the Label Studio and the MLflow of this one.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    tracking.create_database()
    ours = server.status() is None
    try:
        url, api_key, expert_key = server.connect(len(config.annotate.crowd))
        services = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": api_key}
        if expert_key is not None:
            services["LABEL_STUDIO_EXPERT_API_KEY"] = expert_key
        environment = {**os.environ, **services}
        metrics = [_run(scenario, seed, environment) for seed in SEEDS]
    finally:
        if ours:
            server.stop()
    parts = [_table(scenario, metrics)]
    _write(parts)
    for dataset, paper_scenario in PAPER.items():
        parts.append(_paper(dataset, paper_scenario))
        _write(parts)
    params.restore_committed()
    print("\n".join(parts))


def _write(parts: list[str]) -> None:
    REPORT.mkdir(exist_ok=True)
    (REPORT / "experiments.md").write_text("\n".join(parts), encoding="utf-8")


def _run(scenario: str, seed: int, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    """Run one seed, or find it in DVC's run cache; arm → metric → value."""
    name = f"{scenario}-seed{seed}"
    print(f"\n=== {name} ===", flush=True)
    command = ["dvc", "exp", "run", "--temp", "--force", "--name", name, "--set-param", f"seed={seed}"]
    subprocess.run(command, env=environment, check=True)
    listed = ["git", "for-each-ref", "--sort=-creatordate", "--format=%(refname)", "refs/exps"]
    refs = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    newest = next(ref for ref in refs if ref.endswith(f"/{name}"))
    shown = subprocess.run(["git", "show", f"{newest}:report/metrics.json"], capture_output=True, text=True, check=True)
    metrics: dict[str, dict[str, float]] = json.loads(shown.stdout)[scenario]
    return metrics


def _paper(dataset: str, scenario: str) -> str:
    """The table of one of the paper's scenarios, or why it was not run."""
    try:
        paper.check_sources([dataset])
    except ConfigError as error:
        return f"### {scenario}\n\nNot run: {error}\n"
    paper.main(scenario, BACKBONE, "simulated")
    return f"### {scenario}\n\n{(REPORT / 'table.md').read_text(encoding='utf-8')}"


def _table(scenario: str, seeds: list[dict[str, dict[str, float]]]) -> str:
    """Mean and spread (standard deviation) over the seeds, for each arm."""
    lines = [
        f"### {scenario}, seeds {', '.join(map(str, SEEDS))}: mean ± standard deviation",
        "",
        "| Arm | Accuracy, test | Accuracy, test-shifted | Lost, points | Loss closed, % | each seed |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for arm in seeds[0]:
        test = np.array([100 * seed[arm]["test_accuracy"] for seed in seeds])
        shifted = np.array([100 * seed[arm]["test-shifted_accuracy"] for seed in seeds])
        automated = [100 * (s["automated"]["test_accuracy"] - s["automated"]["test-shifted_accuracy"]) for s in seeds]
        closed = 100 * (1 - (test - shifted) / np.array(automated))
        each = ", ".join(f"{value:.0f}" for value in closed)
        numbers = " | ".join(f"{v.mean():.1f} ± {v.std(ddof=1):.1f}" for v in (test, shifted, test - shifted, closed))
        lines.append(f"| {arm} | {numbers} | {each} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    try:
        run(main)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: `{' '.join(error.cmd)}` failed; put right what it says, and run `make experiments` again")
