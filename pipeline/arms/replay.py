"""Arms that need no new answers: the epochs of `hitl`, from the same start, with given masks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.arms import results
from pipeline.config import Config, Penalty, Round, Scenario
from pipeline.data import prepared, subset
from pipeline.data.loading import Images
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.training import checkpoints, states, trainer
from pipeline.training.states import State


def replay(
    config: Config,
    scenario: str,
    arm: str,
    *,
    entries: list[masks.Entry],
    penalty: Penalty,
    each_epoch: trainer.EachEpoch,
) -> bool:
    """Train an arm from the scenario's baseline, and write its state, history and masks.

    Args:
        config: All settings.
        scenario: The scenario's name.
        arm: The arm's name, which names its folder.
        entries: The masks; each is in force from its round on.
        penalty: The penalty, in place of the scenario's.
        each_epoch: Called after each epoch with the arm's own history so far.

    Returns:
        Whether this is the process that wrote the files: the first of several processes.
    """
    settings = config.scenario(scenario).model_copy(update={"penalty": penalty})
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    start, folder = step_dir(scenario, "start"), step_dir(scenario, arm)
    state = states.restore(start / "state.pt", settings.train)
    trained = train_rounds(
        state,
        images,
        settings,
        seed=config.seed,
        rounds=config.hitl.rounds,
        entries=entries,
        checkpoint_dir=checkpoints.FOLDER,
        each_epoch=each_epoch,
    )
    if not state.accelerator.is_main_process:
        return False
    masks.write(folder / "masks.npz", entries)
    pd.concat([results.history(start), trained]).to_csv(folder / "history.csv", index=False)
    states.save(state, folder / "state.pt")
    checkpoints.clear(checkpoints.FOLDER)
    return True


def train_rounds(
    state: State,
    images: dict[str, Images],
    settings: Scenario,
    *,
    seed: int,
    rounds: list[Round],
    entries: list[masks.Entry],
    checkpoint_dir: Path | None = None,
    each_epoch: trainer.EachEpoch | None = None,
) -> pd.DataFrame:
    """Train the epochs of all rounds, each entry in force from its round on.

    Args:
        state: The network after the baseline; it moves on by all epochs.
        images: The images of each split.
        settings: The scenario's settings, with the arm's penalty.
        seed: With the epoch's number, it determines order and augmentation.
        rounds: The rounds of `hitl`.
        entries: The masks.
        checkpoint_dir: Where epochs are stored to be resumed; None stores none.
        each_epoch: Called after each epoch with the history so far, of all rounds.

    Returns:
        The history, one row per epoch.
    """
    history: list[pd.DataFrame] = []

    def with_earlier(rows: pd.DataFrame) -> None:
        if each_epoch:
            each_epoch(pd.concat([*history, rows], ignore_index=True))

    for replayed in rounds:
        trained = trainer.train(
            state,
            images,
            settings,
            seed=seed,
            epochs=replayed.epochs,
            step=replayed.n,
            masks=masks.in_force([entry for entry in entries if entry.round <= replayed.n]),
            about=masks.findings(entries),
            checkpoint_dir=checkpoint_dir,
            each_epoch=with_earlier,
        )
        history.append(trained)
    return pd.concat(history, ignore_index=True)
