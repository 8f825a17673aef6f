"""baseline: choose a scenario's images and train without feedback; every other arm starts from here."""

from __future__ import annotations

from labelstudio.exchange import effects
from pipeline.arms.baseline import train_baseline
from pipeline.config import load
from pipeline.data import prepared, subset
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.tracking import live, publishing
from pipeline.training import checkpoints, states


def main(scenario: str) -> None:
    """Write subset.csv, and the start of all rounds: state, history, and no masks or effects yet."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    chosen = subset.choose(data, settings.fraction, config.seed)
    images = subset.by_split(data, chosen)
    print(f"{scenario}: {len(images['train'].ids)} training images")

    state, history = train_baseline(
        images,
        settings,
        data.classes,
        seed=config.seed,
        checkpoint_dir=checkpoints.FOLDER,
        each_epoch=live.epochs(config, scenario, "baseline"),
    )
    if not state.accelerator.is_main_process:
        return
    folder = step_dir(scenario, "start")
    subset.write(subset_file(scenario), chosen, data)
    masks.write(folder / "masks.npz", [])
    effects.write(folder / "effect.json", [])
    history.to_csv(folder / "history.csv", index=False)
    states.save(state, folder / "state.pt")
    checkpoints.clear(checkpoints.FOLDER)
    publishing.publish_arm(config, scenario, "baseline")
