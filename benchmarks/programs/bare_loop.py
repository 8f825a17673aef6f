"""Train and evaluate every arm of the demo in one process: the computation of `dvc repro` and nothing else."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import load
from pipeline.evaluation import attention
from pipeline.experiments import cells
from pipeline.feedback import masks


def main() -> None:
    """Run the only scenario of params.yaml, in the current folder."""
    config = load()
    (scenario,) = config.hitl.scenarios
    loop = cells.begin(config, scenario, folder=Path("loop"))
    outcomes = cells.train_arms(loop, ("automated", "hitl", *config.hitl.placebos), given=None)
    disregarded = masks.in_force(outcomes["hitl"].entries)
    for arm, outcome in outcomes.items():
        cells.arm_result(loop, arm, outcome, disregarded=disregarded, explainers=attention.QUICK)


if __name__ == "__main__":
    main()
