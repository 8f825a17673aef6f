"""The arms of a scenario, and the files and the summary of each arm's result."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.config import Config
from pipeline.data.prepared import is_split
from pipeline.errors import DamagedFileError, naming_damage
from pipeline.paths import curve_file, step_dir

WITHOUT_FEEDBACK = ("baseline", "automated")


def arms(config: Config, scenario: str) -> list[str]:
    """Return all arms of a scenario, in the order of the tables."""
    has_rounds = scenario in config.hitl.scenarios
    return [*WITHOUT_FEEDBACK, *([*config.hitl.placebos, "hitl"] if has_rounds else [])]


def final_dir(config: Config, scenario: str, arm: str) -> Path:
    """Return the folder of an arm's final state.pt, masks.npz and history.csv."""
    return step_dir(scenario, {"baseline": "start", "hitl": config.hitl.last}.get(arm, arm))


def history(folder: Path) -> pd.DataFrame:
    """Read the history in a folder, one row per epoch from the baseline's first."""
    return read(folder / "history.csv")


def read(path: Path) -> pd.DataFrame:
    """Read a history; raises DamagedFileError if it cannot be read."""
    with naming_damage(path):
        found = pd.read_csv(path, dtype={"step": str})
        losses = found[[column for column in found if column.endswith("_loss")]]  # each epoch has all of them
        if not {"step", "val_loss"} <= set(found) or losses.empty or losses.isna().any(axis=None):
            raise ValueError("it lacks the steps or the losses")
        losses.astype(float)
        return found


def write_curve(history: pd.DataFrame, scenario: str, arm: str) -> None:
    """Write an arm's history, or the part of it that is there, for DVC's plots."""
    path = curve_file(scenario, arm)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")  # who plots while an arm trains reads no half of a file
    history.to_csv(half, index=False)
    half.replace(path)


def own_epochs(history: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return the epochs of the arm itself: every arm but the baseline starts after the baseline's last epoch."""
    return history[(history["step"] == "start") == (arm == "baseline")]


def summary(history: pd.DataFrame, arm: str) -> dict[str, float]:
    """Return an arm's result as ``<split>_<metric>`` after its last epoch, and its best epochs.

    ``min_loss`` is the paper's column: the lowest loss of the arm's own epochs on the validation split.
    ``selected_test_<metric>`` are the test split's readings at that epoch. ``min_test_loss`` is the lowest test loss of
    any epoch, which nobody could have selected. A split that was not read after each epoch has none of these. Raises
    DamagedFileError if the arm has no epoch.
    """
    own = own_epochs(history, arm)
    if own.empty:
        raise DamagedFileError(f"the history of {arm} has no epoch of its own. Fix: run `dvc repro` to write it again")
    final, selected = own.iloc[-1], own.loc[own["val_loss"].idxmin()]
    readings = [c for c in own.columns if is_split(c.partition("_")[0]) and c != "train_loss"]
    return {
        "min_loss": float(own["val_loss"].min()),
        **({"min_test_loss": float(own["test_loss"].min())} if "test_loss" in own else {}),
        **{f"selected_{column}": float(selected[column]) for column in readings if column.startswith("test_")},
        **{column: float(final[column]) for column in readings},
    }
