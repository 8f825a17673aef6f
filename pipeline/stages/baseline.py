"""baseline: choose a scenario's images and train without feedback; every arm starts from here."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline import checkpoint, masks, model, subset, tracking, training
from pipeline.config import load
from pipeline.datasets import prepared
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.stages import run


def main(scenario: str) -> None:
    """Write subset.csv and the start: state, history, and no masks yet."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    chosen = subset.choose(data, settings.fraction, config.seed)
    images = subset.by_split(data, chosen)
    print(f"{scenario}: {len(images['train'].ids)} training images")

    torch.manual_seed(config.seed)
    state = training.begin(model.build(model.read(Path(settings.init)), data.classes), settings.train)
    epochs = settings.train.baseline_epochs
    history = training.train(state, images, settings, config.seed, epochs, "start", masks=None, resumable=True)

    if not state.accelerator.is_main_process:
        return
    folder = step_dir(scenario, "start")
    subset.write(subset_file(scenario), chosen, data)
    masks.write(folder / "masks.npz", [])
    history.to_csv(folder / "history.csv", index=False)
    training.save(state, folder / "state.pt")
    checkpoint.clear()
    tracking.publish(config, scenario, "baseline")


if __name__ == "__main__":
    run(main, "scenario", launched=True)
