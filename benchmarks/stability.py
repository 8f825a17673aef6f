"""What the penalty does to BatchNorm, and so to the epochs: the validation loss under each way to treat it.

Writes report/batchnorm.png and report/batchnorm.csv beside the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pandas as pd
from matplotlib.figure import Figure as Plot

from benchmarks import digits
from benchmarks.measure import Figure
from pipeline.paths import REPORT
from pipeline.training import trainer

WAYS = ("moving", "settled", "frozen")
SEEDS, EPOCHS = (0, 1, 2), 8


def _worst_rise(way: str) -> Figure:
    """The largest rise of the validation loss from one epoch with masks to the next, nats."""
    own = _histories()
    own = own[(own["batchnorm"] == way) & (own["step"] != "start")]
    return Figure.of([float(one["val_loss"].diff().max()) for _, one in own.groupby("seed")])


FIGURES: dict[str, Callable[[], Figure]] = {f"worst_rise_{way}": partial(_worst_rise, way) for way in WAYS}


@cache
def _histories() -> pd.DataFrame:
    """Of the share penalty at lambda 10 on half of the images, after some epochs without."""
    data = {split: digits.images(split) for split in ("train", "val", "val-shifted")}
    found = []
    for seed in SEEDS:
        for way in WAYS:
            settings = digits.SCENARIO.model_copy(
                update={"train": digits.TRAIN.model_copy(update={"batchnorm": way})},
            )
            state = digits.begin(seed)
            epochs = digits.TRAIN.baseline_epochs
            before = trainer.train(state, data, settings, seed, epochs, "start", masks=None)
            after = trainer.train(state, data, settings, seed, EPOCHS, way, masks=digits.masks(0.5))
            found.append(pd.concat([before, after]).assign(batchnorm=way, seed=seed))
    histories = pd.concat(found)
    histories.to_csv(REPORT / "batchnorm.csv", index=False)
    _plot(histories)
    return histories


def _plot(histories: pd.DataFrame) -> None:
    plot = Plot(figsize=(7, 3.5), layout="constrained")
    axes = plot.subplots()
    for colour, way in enumerate(WAYS):
        for seed in SEEDS:
            own = histories[(histories["batchnorm"] == way) & (histories["seed"] == seed)]
            axes.plot(own["epoch"], own["val_loss"], color=f"C{colour}", label=way if seed == SEEDS[0] else None)
    axes.axvline(digits.TRAIN.baseline_epochs + 0.5, color="grey", linestyle=":", label="masks from here on")
    axes.set(xlabel="epoch", ylabel="validation loss, nats", yscale="log", title="BatchNorm's statistics")
    axes.legend()
    plot.savefig(REPORT / "batchnorm.png", dpi=120)
