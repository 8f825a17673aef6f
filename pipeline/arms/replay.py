"""An arm that needs no new answers: the epochs of `hitl`, from the same start, with given masks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.arms import results
from pipeline.config import Config, Penalty, Round, Scenario
from pipeline.data import prepared, subset
from pipeline.data.loading import Images
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.training import checkpoints, trainer
from pipeline.training.trainer import State


def replay(config: Config, scenario: str, arm: str, entries: list[masks.Entry], penalty: Penalty) -> State:
    """Write the arm's final state, history and masks; the first of several processes does."""
    settings = config.scenario(scenario).model_copy(update={"penalty": penalty})
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    start, folder = step_dir(scenario, "start"), step_dir(scenario, arm)
    state = trainer.restore(start / "state.pt", settings.train)
    trained = train(state, images, settings, config.seed, config.hitl.rounds, entries, checkpoints.FOLDER)

    if state.accelerator.is_main_process:
        masks.write(folder / "masks.npz", entries)
        pd.concat([results.history(start), trained]).to_csv(folder / "history.csv", index=False)
        trainer.save(state, folder / "state.pt")
        checkpoints.clear(checkpoints.FOLDER)
    return state


def train(
    state: State,
    images: dict[str, Images],
    settings: Scenario,
    seed: int,
    rounds: list[Round],
    entries: list[masks.Entry],
    checkpoint_dir: Path | None = None,
) -> pd.DataFrame:
    """The epochs of all rounds, each entry in force from its round on; the history, a row an epoch."""
    history = []
    for replayed in rounds:
        in_force = masks.in_force([entry for entry in entries if entry.round <= replayed.n])
        step = (state, images, settings, seed, replayed.epochs, replayed.n)
        history.append(trainer.train(*step, masks=in_force, checkpoint_dir=checkpoint_dir))
    return pd.concat(history, ignore_index=True)
