"""An arm that needs no new answers: the epochs of `hitl`, from the same start, with given masks."""

from __future__ import annotations

import pandas as pd

from pipeline import masks, runs, subset, training
from pipeline.config import Config
from pipeline.datasets import prepared
from pipeline.paths import prepared_dir, step_dir, subset_file


def replay(config: Config, scenario: str, arm: str, entries: list[masks.Entry], dead: bool = False) -> None:
    """Write the arm's final state, history and masks; each entry is in force from its round on.

    ``dead``: penalised as published, to no effect.
    """
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    start, folder = step_dir(scenario, "start"), step_dir(scenario, arm)
    state = training.restore(start / "state.pt", settings.train)
    history = [runs.history(start)]
    so_far: list[masks.Entry] = []
    for replayed in config.hitl.rounds:
        so_far += [entry for entry in entries if entry.round == replayed.n]
        in_force = masks.in_force(so_far)
        trained = training.train(
            state, images, settings, config.seed, replayed.epochs, replayed.n, masks=in_force, dead=dead
        )
        history.append(trained)

    masks.write(folder / "masks.npz", so_far, data.images.shape[1])
    pd.concat(history).to_csv(folder / "history.csv", index=False)
    training.save(state, folder / "state.pt")
