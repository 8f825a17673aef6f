"""baseline: choose a scenario's images and train without feedback; every arm starts from here."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from pipeline import checkpoint, masks, model, subset, tracking, training
from pipeline.config import Scenario, load
from pipeline.datasets import prepared
from pipeline.loading import Images
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.training import State


def main(scenario: str) -> None:
    """Write subset.csv and the start: state, history, and no masks yet."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    chosen = subset.choose(data, settings.fraction, config.seed)
    images = subset.by_split(data, chosen)
    print(f"{scenario}: {len(images['train'].ids)} training images")

    state, history = train(images, settings, data.classes, config.seed, checkpoint.FOLDER)
    if not state.accelerator.is_main_process:
        return
    folder = step_dir(scenario, "start")
    subset.write(subset_file(scenario), chosen, data)
    masks.write(folder / "masks.npz", [])
    history.to_csv(folder / "history.csv", index=False)
    training.save(state, folder / "state.pt")
    checkpoint.clear(checkpoint.FOLDER)
    tracking.publish(config, scenario, "baseline")


def train(
    images: dict[str, Images], settings: Scenario, classes: list[str], seed: int, checkpoints: Path | None = None
) -> tuple[State, pd.DataFrame]:
    """The start from the scenario's initial weights, and its history, a row an epoch."""
    torch.manual_seed(seed)  # of the new classification layer
    state = training.begin(model.build(model.read(Path(settings.init)), classes), settings.train)
    epochs = settings.train.baseline_epochs
    return state, training.train(state, images, settings, seed, epochs, "start", masks=None, checkpoints=checkpoints)
