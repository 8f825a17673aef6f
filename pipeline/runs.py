"""The arms of a scenario and where each one's final state and history lie."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.config import Config, ConfigError, step_dir


def arms(config: Config) -> list[str]:
    """All arms, in the order of the tables."""
    return ["baseline", *(arm.name for arm in config.control.arms), "hitl"]


def final_dir(config: Config, scenario: str, arm: str) -> Path:
    """The folder of an arm's final state.pt, masks.npz and history.csv."""
    return step_dir(scenario, {"baseline": "start", "hitl": config.hitl.last}.get(arm, arm))


def history(folder: Path) -> pd.DataFrame:
    """One row an epoch, from the baseline's first; raises ConfigError if it is missing or damaged."""
    try:
        return pd.read_csv(folder / "history.csv", dtype={"step": str})
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {folder / 'history.csv'} ({error}); run `dvc repro` to write it") from error


def summary(history: pd.DataFrame, arm: str) -> dict[str, float]:
    """What an arm came to: ``<split>_accuracy`` and ``<split>_loss`` after its last epoch.

    ``min_loss`` is the paper's column: the lowest of the arm's own epochs on the validation
    split. ``selected_test_*`` are the test split's at the
    epoch with the lowest validation loss.
    """
    own = history[history["step"] == "start"] if arm == "baseline" else history[history["step"] != "start"]
    final, selected = own.iloc[-1], own.loc[own["val_loss"].idxmin()]
    columns = [c for c in own.columns if c.endswith(("_loss", "_accuracy")) and c != "train_loss"]
    return {
        "min_loss": float(own["val_loss"].min()),
        "selected_test_accuracy": float(selected["test_accuracy"]),
        "selected_test_loss": float(selected["test_loss"]),
        "min_test_loss": float(own["test_loss"].min()),
        **{column: float(final[column]) for column in columns},
    }
