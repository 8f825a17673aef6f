"""``python -m benchmarks.scaling``: how costs grow with images, answers and rounds; draws docs/images/scaling.png.

Each point is the median of three runs. A straight line is expected. The program draws the line of least squares and
prints its slope, which is the cost of one more image, query or round.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks import annotation, method, repro
from benchmarks.measure import seconds
from pipeline.data import prepared
from pipeline.data.loading import Images, Rows
from pipeline.data.prepared import Item
from pipeline.evaluation.figures import save
from pipeline.models.classifier import Classifier
from pipeline.training import inference, states
from pipeline.training.epoch import train_epoch

IMAGES = (2_000, 4_000, 8_000, 16_000)
QUERIES = (200, 400, 800, 1_600)
ROUNDS = (16, 32, 64, 128)
SIDE = 32  # pixels of an image; the network is the smallest of timm
BATCH = 64
RUNS = 3
PICTURE = Path("docs/images/scaling.png")
Costs = dict[str, dict[int, float]]  # the work → how many → seconds


def main() -> None:
    """Measure everything, print the cost of one more, and draw."""
    draw({"images": images(), "queries of a round": answers(), "rounds": rounds()}, PICTURE)


def images(counts: tuple[int, ...] = IMAGES) -> Costs:
    """Return the seconds to prepare so many images (without decoding), to train an epoch on them and to score them."""
    torch.manual_seed(0)
    settings = method.PAPER.model_copy(update={"batch_size": BATCH})
    costs: Costs = {"preparing": {}, "one epoch": {}, "scoring": {}}
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rng = np.random.default_rng(0)
            drawn = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
            items = [Item(str(n), "ab"[n % 2], "train", drawn[n], None) for n in range(count)]
            write = partial(prepared.write_arrays, folder, count=count, size=SIDE, items=items)
            costs["preparing"][count] = _median(write)
            pixels = Rows(np.load(folder / "images.npy", mmap_mode="r"), np.arange(count))
            pool = Images([item.name for item in items], pixels, torch.arange(count) % 2)
            state = states.begin(Classifier(method.SMALLEST, ["a", "b"]), settings)
            epoch = partial(train_epoch, state, pool, settings, seed=0, freeze_batchnorm=False)
            costs["one epoch"][count] = _median(epoch)
            costs["scoring"][count] = _median(partial(inference.logits, state, pixels))
    return costs


def answers(counts: tuple[int, ...] = QUERIES) -> Costs:
    """Return the seconds to push so many queries, and to pull them with three answers each, at a real Label Studio."""
    found = annotation.costs(counts)
    return {
        "push": {count: cost.push_s for count, cost in found.items()},
        "pull, 3 answers each": {count: cost.pull_s for count, cost in found.items()},
    }


def rounds(counts: tuple[int, ...] = ROUNDS) -> Costs:
    """Return the seconds of `dvc repro` with so many rounds, four stages each, and nothing to do."""
    costs: Costs = {"dvc repro, nothing to do": {}}
    for count in counts:
        with repro.finished(count) as folder:
            costs["dvc repro, nothing to do"][count] = _median(partial(repro.repro, folder))
    return costs


def draw(found: dict[str, Costs], path: Path) -> None:
    """Draw the costs of each kind beside each other with their lines of least squares, and print the slopes."""
    figure = Figure(figsize=(10, 3.2))
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, (kind, costs) in zip(axes, found.items(), strict=True):
        for colour, (work, points) in enumerate(costs.items()):
            counts, took = np.array(list(points)), np.array(list(points.values()))
            slope, first = np.polyfit(counts, took, 1)
            print(f"{work}: {first:.3g} s, and {1e3 * slope:.3g} ms for each of the {kind}", flush=True)
            axis.plot(counts, took, "o", color=f"C{colour}", label=work)
            axis.plot([0, counts[-1]], [first, first + slope * counts[-1]], color=f"C{colour}", lw=1)
        axis.set(xlabel=f"number of {kind}", ylabel="time, seconds", xlim=(0, None), ylim=(0, None))
        axis.legend(fontsize=8)
    figure.tight_layout()
    save(figure, path)


def _median(function: Callable[[], object]) -> float:
    return statistics.median(seconds(function) for _ in range(RUNS))


if __name__ == "__main__":
    main()
