"""The arms of a scenario and where each one's final state and history lie."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.config import Config
from pipeline.data.prepared import SPLITS
from pipeline.errors import ConfigError
from pipeline.paths import step_dir


def arms(config: Config, scenario: str) -> list[str]:
    """All arms of a scenario, in the order of the tables."""
    asked = scenario in config.hitl.scenarios
    return ["baseline", "automated", *([*config.hitl.placebos, "hitl"] if asked else [])]


def final_dir(config: Config, scenario: str, arm: str) -> Path:
    """The folder of an arm's final state.pt, masks.npz and history.csv."""
    return step_dir(scenario, {"baseline": "start", "hitl": config.hitl.last}.get(arm, arm))


def history(folder: Path) -> pd.DataFrame:
    """One row an epoch, from the baseline's first; raises ConfigError if it is missing or damaged."""
    try:
        return pd.read_csv(folder / "history.csv", dtype={"step": str})
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {folder / 'history.csv'} ({error}); run `dvc repro` to write it") from error


def own_epochs(history: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The epochs of an arm itself: all others start from the baseline's last."""
    return history[(history["step"] == "start") == (arm == "baseline")]


def summary(history: pd.DataFrame, arm: str) -> dict[str, float]:
    """What an arm came to: ``<split>_<metric>`` after its last epoch.

    ``min_loss`` is the paper's column: the lowest of the arm's own epochs on the validation split.
    ``selected_test_<metric>`` are the test split's at that epoch; ``min_test_loss`` is the lowest of
    any epoch there, which no one could have chosen.
    """
    own = own_epochs(history, arm)
    final, selected = own.iloc[-1], own.loc[own["val_loss"].idxmin()]
    readings = [c for c in own.columns if c.partition("_")[0] in SPLITS and c != "train_loss"]
    return {
        "min_loss": float(own["val_loss"].min()),
        "min_test_loss": float(own["test_loss"].min()),
        **{f"selected_{column}": float(selected[column]) for column in readings if column.startswith("test_")},
        **{column: float(final[column]) for column in readings},
    }
