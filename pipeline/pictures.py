"""Pictures for people: what was asked and marked, what the network looks at, how arms went."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labelstudio import regions
from labelstudio.records import Manifest
from pipeline import masks
from pipeline.datasets.prepared import SPLITS

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

SHOWN, MARKED = "#f5a623", "#d0021b"
COLUMNS = 5
TOP = {"y": 1.0, "fontsize": 8}  # of a panel's title: left to itself, matplotlib lays out ticks that nobody sees


def queries(manifest: Manifest, folder: Path, entries: list[masks.Entry]) -> Figure:
    """A round's queries with their proposals; what the experts disregarded is crossed out."""
    marked = {entry.image_id: entry.mask for entry in entries if entry.round == manifest.round}
    rows = -(-len(manifest.queries) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(2.2 * COLUMNS, 2.5 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, query in zip(axes.flat, manifest.queries, strict=False):
        axis.imshow(plt.imread(folder / query.image))
        axis.set_title(f"{query.label}, read as {query.prediction}\nentropy {query.entropy:.2f}", **TOP)
        mask = marked.get(query.image_id)
        for p in query.proposals:
            away = mask is not None and bool((mask[regions.pixels(p, query.width, query.height)] > 0.5).all())
            outline = Polygon([(x - 0.5, y - 0.5) for x, y in p.corners()], fill=False, lw=1.2)
            outline.set(edgecolor=MARKED if away else SHOWN, hatch="xx" if away else "")
            axis.add_patch(outline)
    figure.suptitle(
        f"{manifest.scenario}, round {manifest.round}: shown (orange), to be disregarded (red)", fontsize=10
    )
    return _tight(figure)


def explanations(
    pixels: NDArray[np.uint8], titles: list[str], saliency: dict[str, tuple[NDArray[np.floating], list[str]]]
) -> Figure:
    """Probe images (B, S, S, 3), a row each; by arm, saliency (B, S, S) and what the arm read."""
    figure, axes = plt.subplots(
        len(pixels), 1 + len(saliency), figsize=(2.2 * (1 + len(saliency)), 2.4 * len(pixels)), squeeze=False
    )
    for row, image in enumerate(pixels):
        axes[row, 0].imshow(image)
        axes[row, 0].set_title(titles[row], **TOP)
        for column, (arm, (maps, readings)) in enumerate(saliency.items(), start=1):
            limit = np.abs(maps[row]).max() or 1.0
            axes[row, column].imshow(image.mean(axis=2), cmap="gray", alpha=0.4)
            axes[row, column].imshow(maps[row], cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.8)
            axes[row, column].set_title(f"{arm}: {readings[row]}", **TOP)
    for axis in axes.flat:
        axis.axis("off")
    return _tight(figure)


def effect(
    picture: NDArray[np.uint8], weights: NDArray[np.floating], maps: list[NDArray[np.floating]], shares: list[float]
) -> Figure:
    """A picture (S, S, 3) with what was marked on it, W (S, S), and two saliencies (S, S): before and after.

    ``shares``: how much of the attention lay inside the marks, 0..1, each time.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.6))
    axes[0].imshow(picture)
    axes[0].set_title("marked as not to matter", **TOP | {"fontsize": 10})
    for axis, saliency, share, when in zip(axes[1:], maps, shares, ("before", "after"), strict=True):
        limit = np.abs(saliency).max() or 1.0
        axis.imshow(picture.mean(axis=2), cmap="gray", alpha=0.4)
        axis.imshow(saliency, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.8)
        axis.set_title(f"{when}: {share:.0%} of the attention is there", **TOP | {"fontsize": 10})
    for axis in axes:
        places = np.arange(-1, len(weights) + 1)  # with a margin, to outline marks at the border on all sides
        axis.contour(places, places, np.pad(weights > 0, 1) * 1.0, [0.5], colors=MARKED, linewidths=1.2)
        axis.axis("off")
    return _tight(figure)


def curves(histories: dict[str, pd.DataFrame], title: str) -> Figure:
    """Accuracy and loss of each arm over the epochs, a panel a split; dotted lines begin a round."""
    columns = next(iter(histories.values())).columns
    splits = [split for split in SPLITS if f"{split}_accuracy" in columns]
    figure, axes = plt.subplots(2, len(splits), figsize=(3.4 * len(splits), 5.2), squeeze=False, sharex=True)
    for column, split in enumerate(splits):
        for row, metric in enumerate(("accuracy", "loss")):
            axis = axes[row, column]
            for arm, history in histories.items():
                axis.plot(history["epoch"], history[f"{split}_{metric}"], label=arm, lw=1.4)
                for epoch in history["epoch"][history["step"] != history["step"].shift()].iloc[1:]:
                    axis.axvline(epoch - 0.5, color="0.85", lw=0.6, ls=":", zorder=0)
            axis.set_title(f"{split} {metric}", fontsize=9)
            axis.tick_params(labelsize=8)
    axes[0, 0].legend(fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("epoch", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _tight(figure)


def save(figure: Figure, path: Path) -> None:
    """Write the figure as ``as_png`` makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_png(figure))


def as_png(figure: Figure) -> bytes:
    """A PNG without a date or a version in it; the figure is let go of."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _tight(figure: Figure) -> Figure:
    figure.tight_layout()
    return figure
