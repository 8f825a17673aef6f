"""hitl-train: turn a round's answers into masks, and train with all masks in force."""

from __future__ import annotations

import pandas as pd

from labelstudio.exchange.records import Manifest, read_answers
from pipeline.arms import results
from pipeline.arms.hitl import train_round
from pipeline.config import load
from pipeline.data import prepared, subset
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.tracking import live, publishing
from pipeline.training import checkpoints, states


def main(scenario: str, round: str, after: str, epochs: int) -> None:
    """Write the round's state, all masks so far, and the history so far."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    before, folder = step_dir(scenario, after), step_dir(scenario, round)
    state = states.restore(before / "state.pt", settings.train)
    entries, history = train_round(
        state,
        subset.by_split(data, subset.read(subset_file(scenario), data)),
        settings,
        manifest=Manifest.read(folder / "queries.json"),
        answers=read_answers(folder / "answers.json"),
        earlier=masks.read(before / "masks.npz"),
        consensus=config.consensus,
        seed=config.seed,
        epochs=epochs,
        checkpoint_dir=checkpoints.FOLDER,
        each_epoch=live.epochs(config, scenario, "hitl", after=after),
    )
    if not state.accelerator.is_main_process:
        return
    masks.write(folder / "masks.npz", entries)
    pd.concat([results.history(before), history]).to_csv(folder / "history.csv", index=False)
    states.save(state, folder / "state.pt")
    checkpoints.clear(checkpoints.FOLDER)
    publishing.publish_arm(config, scenario, "hitl", through=round)
