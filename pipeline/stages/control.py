"""control: the arms that need no new answers, trained exactly as long as `hitl`, from the same start."""

from __future__ import annotations

import pandas as pd

from pipeline import masks, runs, subset, tracking, training
from pipeline.config import load, prepared_dir, step_dir, subset_file
from pipeline.datasets import prepared
from pipeline.stages import run


def main(scenario: str, arm: str) -> None:
    """Write the arm's final state and its history.

    ``automated`` trains without feedback. ``random-mask`` replays the rounds of `hitl` with as many
    cells on the same images, placed at random: what feedback does that says nothing.
    """
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    entries = []
    if arm == "random-mask":
        entries = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
        entries = masks.at_random(entries, settings.query.cell, config.seed)

    start, folder = step_dir(scenario, "start"), step_dir(scenario, arm)
    state = training.restore(start / "state.pt", settings.train)
    history = [runs.history(start)]
    so_far: list[masks.Entry] = []
    for replayed in config.hitl.rounds:
        so_far += [entry for entry in entries if entry.round == replayed.n]
        in_force = masks.in_force(so_far)
        trained = training.train(state, images, settings, config.seed, replayed.epochs, replayed.n, masks=in_force)
        history.append(trained)

    masks.write(folder / "masks.npz", so_far, data.images.shape[1])
    pd.concat(history).to_csv(folder / "history.csv", index=False)
    training.save(state, folder / "state.pt")
    tracking.publish(config, scenario, arm)


if __name__ == "__main__":
    run(main, "scenario", "arm")
