"""The penalty's effect on BatchNorm, and so on the epochs: the validation loss under each setting of `batchnorm`.

Writes batchnorm.png and batchnorm.csv beside the figures.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Plot

from benchmarks import digits
from benchmarks.measure import Figure, Figures
from pipeline.paths import REPORT
from pipeline.training import trainer

SETTINGS = ("moving", "settled", "frozen")
SEEDS, EPOCHS = (0, 1, 2), 8
START = digits.TRAIN.baseline_epochs


def worst_rise(
    batchnorm: str,
    *,
    seeds: tuple[int, ...] = SEEDS,
    epochs: int = EPOCHS,
    count: int = digits.COUNT,
    folder: Path = REPORT,
) -> Figure:
    """Return the largest rise of the validation loss from one epoch with masks to the next, nats, over the seeds.

    Args:
        batchnorm: One of ``SETTINGS``.
        seeds: A run for each.
        epochs: The number of epochs with masks.
        count: The number of images of each split.
        folder: Where the plot and its numbers are written.
    """
    history = _histories(seeds, epochs=epochs, count=count, folder=folder)
    own = history[(history["batchnorm"] == batchnorm) & (history["step"] != "start")]
    return Figure.of([float(run["val_loss"].diff().max()) for _, run in own.groupby("seed")])


FIGURES: Figures = {f"worst_rise_{batchnorm}": partial(worst_rise, batchnorm) for batchnorm in SETTINGS}


@cache
def _histories(seeds: tuple[int, ...], *, epochs: int, count: int, folder: Path) -> pd.DataFrame:
    """Train with the share penalty at lambda 10 on half of the images, after some epochs without masks."""
    data = {split: digits.images(split, count) for split in ("train", "val", "val-shifted")}
    found = []
    for seed in seeds:
        for batchnorm in SETTINGS:
            train = digits.TRAIN.model_copy(update={"batchnorm": batchnorm})
            settings = digits.SCENARIO.model_copy(update={"train": train})
            run = partial(trainer.train, digits.begin(seed), data, settings, seed=seed)
            before = run(epochs=START, step="start", masks=None)
            after = run(epochs=epochs, step=batchnorm, masks=digits.masks(0.5, count))
            found.append(pd.concat([before, after]).assign(batchnorm=batchnorm, seed=seed))
    histories = pd.concat(found)
    histories.to_csv(folder / "batchnorm.csv", index=False)
    _plot(histories, folder / "batchnorm.png")
    return histories


def _plot(histories: pd.DataFrame, path: Path) -> None:
    plot = Plot(figsize=(7, 3.5), layout="constrained")
    axes = plot.subplots()
    for (batchnorm, seed), run in histories.groupby(["batchnorm", "seed"]):
        label = batchnorm if seed == histories["seed"].min() else None
        axes.plot(run["epoch"], run["val_loss"], color=f"C{SETTINGS.index(batchnorm)}", label=label)
    axes.axvline(START + 0.5, color="grey", linestyle=":", label="first epoch with masks")
    axes.set(xlabel="epoch", ylabel="validation loss, nats", yscale="log", title="Validation loss by `batchnorm`")
    axes.legend()
    plot.savefig(path, dpi=120)
