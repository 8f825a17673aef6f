"""Pictures for people: what was asked and marked, what the network looks at, how arms went."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from labelstudio.exchange import regions
from labelstudio.exchange.records import Manifest
from pipeline.data.prepared import SPLITS
from pipeline.feedback import masks

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

SHOWN, MARKED = "#f5a623", "#d0021b"
COLUMNS, MOST = 5, 200  # queries in a row, and in a picture: MLflow's copies of it end at 16,383 pixels
SIDE, LARGE, GAP, LINE = 200, 280, 12, 14  # pixels: of a panel, of a large one, around it, of a line of its title
SIZES = range(11, 6, -1)  # of letters, pixels: the first in which a title fits
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"

Panel = tuple[str, Image.Image]  # a square picture and what stands above it


def queries(manifest: Manifest, folder: Path, entries: list[masks.Entry]) -> Image.Image:
    """A round's queries, at most the first MOST, with their proposals; what experts disregarded is crossed out."""
    marked = {entry.image_id: entry.mask for entry in entries if entry.round == manifest.round}
    panels = []
    for query in manifest.queries[:MOST]:
        panel, mask = _panel(Image.open(folder / query.image), SIDE), marked.get(query.image_id)
        for p in query.proposals:
            away = mask is not None and bool((mask[regions.pixels(p, query.width, query.height)] > 0.5).all())
            corners = [(x * SIDE / query.width, y * SIDE / query.height) for x, y in p.corners()]
            if away:
                inside = Image.new("1", panel.size)
                ImageDraw.Draw(inside).polygon(corners, fill=1)
                panel.paste(MARKED, mask=ImageChops.logical_and(inside, _crosses()))
            ImageDraw.Draw(panel).polygon(corners, outline=MARKED if away else SHOWN, width=2)
        panels.append((f"{query.label}, read as {query.prediction}\nentropy {query.entropy:.2f}", panel))
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    head = f"{manifest.scenario}, round {manifest.round}: shown (orange), to be disregarded (red)"
    if len(manifest.queries) > MOST:
        head += f"; the first {MOST} of {len(manifest.queries)} queries"
    return _sheet(rows, SIDE, head, columns=COLUMNS)


def explanations(
    pixels: NDArray[np.uint8], titles: list[str], saliency: dict[str, tuple[NDArray[np.floating], list[str]]]
) -> Image.Image:
    """Probe images (B, S, S, 3), a row each; by arm, saliency (B, S, S) and what the arm read."""
    rows = []
    for n, image in enumerate(pixels):
        arms = [(f"{arm}: {read[n]}", _heat(image, maps[n], SIDE)) for arm, (maps, read) in saliency.items()]
        rows.append([(titles[n], _panel(Image.fromarray(image), SIDE)), *arms])
    return _sheet(rows, SIDE)


def effect(
    picture: NDArray[np.uint8], weights: NDArray[np.floating], maps: list[NDArray[np.floating]], shares: list[float]
) -> Image.Image:
    """A picture (S, S, 3) with what was marked on it, W (S, S), and two saliencies (S, S): before and after.

    ``shares``: how much of the attention lay inside the marks, 0..1, each time.
    """
    panels = [("marked as not to matter", _panel(Image.fromarray(picture), LARGE))]
    for saliency, share, when in zip(maps, shares, ("before", "after"), strict=True):
        panels.append((f"{when}: {share:.0%} of the attention is there", _heat(picture, saliency, LARGE)))
    marks = Image.fromarray((weights > 0).astype(np.uint8) * 255).resize((LARGE, LARGE), Image.Resampling.NEAREST)
    framed = ImageOps.expand(marks, border=2)  # so that marks at the border are outlined on all sides
    outline = ImageChops.subtract(framed, framed.filter(ImageFilter.MinFilter(5)))
    for _, panel in panels:
        panel.paste(MARKED, mask=ImageOps.crop(outline, border=2))
    return _sheet([panels], LARGE)


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
    figure.tight_layout()
    return figure


def save(picture: Image.Image | Figure, path: Path) -> None:
    """Write a PNG without a date or a version in it; a figure is let go of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Figure):
        picture.savefig(path, dpi=90, metadata={"Software": None})
        plt.close(picture)
    else:
        picture.save(path, "PNG")


def _sheet(rows: list[list[Panel]], side: int, head: str = "", columns: int = 0) -> Image.Image:
    """Panels in rows, if any, titles above; room for so many in a row at least."""
    above = GAP + LINE * max((title.count("\n") + 1 for row in rows for title, _ in row), default=0)
    top = 2 * GAP + LINE if head else 0
    width = GAP + max([columns, *map(len, rows)]) * (side + GAP)
    page = Image.new("RGB", (width, top + len(rows) * (above + side) + GAP), "white")
    draw = ImageDraw.Draw(page)
    if head:
        _write(draw, head, (width / 2, top), width - 2 * GAP)
    for n, row in enumerate(rows):
        for column, (title, panel) in enumerate(row):
            x, y = GAP + column * (side + GAP), top + n * (above + side) + above
            _write(draw, title, (x + side / 2, y - 3), side)
            page.paste(panel, (x, y))
    return page


def _write(draw: ImageDraw.ImageDraw, text: str, above: tuple[float, float], width: float) -> None:
    """Centred above that point, in letters so small that it fits if it can."""
    fitting = (size for size in SIZES if draw.multiline_textbbox((0, 0), text, _font(size))[2] <= width)
    draw.multiline_text(above, text, "black", _font(next(fitting, SIZES[-1])), anchor="md", align="center")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)


@cache
def _crosses() -> Image.Image:
    """A panel full of crossing lines."""
    x, y = np.indices((SIDE, SIDE))
    return Image.fromarray(((x + y) % 10 == 0) | ((x - y) % 10 == 0))


def _panel(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.BOX)


def _heat(picture: NDArray[np.uint8], saliency: NDArray[np.floating], side: int) -> Image.Image:
    """Saliency (S, S) over its picture (S, S, 3), faintly there: red speaks for the class, blue against it."""
    limit = np.abs(saliency).max() or 1.0
    colours = matplotlib.colormaps["RdBu_r"](saliency / limit / 2 + 0.5)[..., :3] * 255
    faint = 0.4 * picture.mean(axis=2, keepdims=True) + 0.6 * 255
    return _panel(Image.fromarray((0.8 * colours + 0.2 * faint).round().astype(np.uint8)), side)
