"""An arm's epochs while it trains: for DVC's plots in report/curves, and in MLflow.

`evaluate` writes the same files from the finished histories, so that no result depends on the ones written here.
"""

from __future__ import annotations

import pandas as pd

from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import curve_file, step_dir
from pipeline.tracking import publishing
from pipeline.training.trainer import EachEpoch


def epochs(config: Config, scenario: str, arm: str, *, after: str | None = None) -> EachEpoch:
    """Return what shows an arm's history after each epoch.

    Args:
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name.
        after: The step that the arm continues, whose history comes first; None for the baseline.
    """
    before: list[pd.DataFrame] = []
    is_heard = True  # MLflow that does not answer takes five seconds: it is asked no more in this stage

    def show(rows: pd.DataFrame) -> None:
        nonlocal is_heard
        if after and not before:
            before.append(results.history(step_dir(scenario, after)))
        results.write_curve(pd.concat([*before, rows]), scenario, arm)
        if is_heard:
            # Read again: digits that a file does not keep would make another history of it.
            is_heard = publishing.publish_epochs(config, scenario, arm, results.read(curve_file(scenario, arm)))

    return show
