"""baseline: choose a scenario's images and train without feedback; every arm starts from here."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from pipeline import tracking
from pipeline.config import Scenario, load
from pipeline.data import prepared, subset
from pipeline.data.loading import Images
from pipeline.feedback import masks
from pipeline.models import classifier
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.training import checkpoints, trainer
from pipeline.training.trainer import State


def main(scenario: str) -> None:
    """Write subset.csv and the start: state, history, and no masks yet."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    chosen = subset.choose(data, settings.fraction, config.seed)
    images = subset.by_split(data, chosen)
    print(f"{scenario}: {len(images['train'].ids)} training images")

    state, history = train(images, settings, data.classes, config.seed, checkpoints.FOLDER)
    if not state.accelerator.is_main_process:
        return
    folder = step_dir(scenario, "start")
    subset.write(subset_file(scenario), chosen, data)
    masks.write(folder / "masks.npz", [])
    history.to_csv(folder / "history.csv", index=False)
    trainer.save(state, folder / "state.pt")
    checkpoints.clear(checkpoints.FOLDER)
    tracking.publish(config, scenario, "baseline")


def train(
    images: dict[str, Images], settings: Scenario, classes: list[str], seed: int, checkpoint_dir: Path | None = None
) -> tuple[State, pd.DataFrame]:
    """The start from the scenario's initial weights, and its history, a row an epoch."""
    torch.manual_seed(seed)  # of the new classification layer
    state = trainer.begin(classifier.build(classifier.read(Path(settings.init)), classes), settings.train)
    epochs = settings.train.baseline_epochs
    return state, trainer.train(
        state, images, settings, seed, epochs, "start", masks=None, checkpoint_dir=checkpoint_dir
    )
