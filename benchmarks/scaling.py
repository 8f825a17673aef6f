"""``python -m benchmarks.scaling``: how costs grow with images, answers and rounds; docs/images/scaling.png.

Each point is the median of a few runs. Straight lines through the origin, or through what a first one costs, are what
is hoped for; a line of least squares is drawn, and its slope printed: what one more of them costs.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from benchmarks import annotation, method, whole
from benchmarks.measure import seconds
from pipeline.data import prepared
from pipeline.data.loading import Images, Rows
from pipeline.data.prepared import Item
from pipeline.evaluation.figures import save
from pipeline.models.classifier import Classifier
from pipeline.training import trainer

IMAGES = (2_000, 4_000, 8_000, 16_000)
ANSWERS = (200, 400, 800, 1_600)
ROUNDS = (16, 32, 64, 128)
SIDE = 32  # pixels; of the network, timm's smallest
PICTURE = Path("docs/images/scaling.png")
Costs = dict[str, dict[int, float]]  # what is done → how many → seconds


def images(counts: tuple[int, ...] = IMAGES) -> Costs:
    """Of preparing so many images (without decoding them), of an epoch on them, and of scoring them."""
    torch.manual_seed(0)
    settings = method.PAPER.model_copy(update={"batch_size": 64})
    costs: Costs = {"prepare": {}, "an epoch": {}, "scoring": {}}
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rng = np.random.default_rng(0)
            drawn = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
            items = [Item(str(n), "ab"[n % 2], "train", drawn[n], None) for n in range(count)]
            costs["prepare"][count] = _median(partial(prepared.write_arrays, folder, count, SIDE, items))
            pixels = Rows(np.load(folder / "images.npy", mmap_mode="r"), np.arange(count))
            pool = Images([item.name for item in items], pixels, torch.arange(count) % 2)
            state = trainer.begin(Classifier("test_efficientnet", ["a", "b"]), settings)
            epoch = partial(trainer.train_epoch, state, pool, settings, 0, freeze_batchnorm=False)
            costs["an epoch"][count] = _median(epoch)
            costs["scoring"][count] = _median(partial(trainer.logits, state, pixels))
    return costs


def answers(counts: tuple[int, ...] = ANSWERS) -> Costs:
    """Of a round of so many queries at a real Label Studio: pushed, and pulled with three experts' answers each."""
    found = annotation.costs(counts)
    return {
        "push": {count: cost.push_s for count, cost in found.items()},
        "pull, 3 answers each": {count: cost.pull_s for count, cost in found.items()},
    }


def rounds(counts: tuple[int, ...] = ROUNDS) -> Costs:
    """Of `dvc repro` with so many rounds, three stages each, when nothing is out of date."""
    costs: Costs = {"dvc repro, nothing to do": {}}
    for count in counts:
        with whole.finished(count) as folder:
            costs["dvc repro, nothing to do"][count] = _median(partial(whole.repro, folder))
    return costs


def main() -> None:
    """Measure, print what one more costs, and draw."""
    found = {"images": images(), "queries of a round": answers(), "rounds": rounds()}
    figure, axes = plt.subplots(1, len(found), figsize=(10, 3.2))
    for axis, (what, costs) in zip(axes, found.items(), strict=True):
        for colour, (name, points) in enumerate(costs.items()):
            counts, took = np.array(list(points)), np.array(list(points.values()))
            slope, first = np.polyfit(counts, took, 1)
            print(f"{name}: {1e3 * slope:.3g} ms for one more of the {what}, and {first:.3g} s", flush=True)
            axis.plot(counts, took, "o", color=f"C{colour}", label=name)
            axis.plot([0, counts[-1]], [first, first + slope * counts[-1]], color=f"C{colour}", lw=1)
        axis.set(xlabel=what, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axis.legend(fontsize=8)
    figure.tight_layout()
    save(figure, PICTURE)


def _median(function: Callable[[], object]) -> float:
    return statistics.median(seconds(function) for _ in range(3))


if __name__ == "__main__":
    main()
