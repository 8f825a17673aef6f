"""Figures for people: the queries of a round, explanations, before and after a round, and curves."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from labelstudio.exchange import geometry
from labelstudio.exchange.records import Manifest
from pipeline.data import labels
from pipeline.data.loading import Images
from pipeline.data.prepared import in_order
from pipeline.feedback import masks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, MARKED, EVIDENCE = "#f5a623", "#d0021b", "#5ea500"  # colours: orange, red, green
COLUMNS = 5  # queries in a row
MOST = 200  # queries in a figure; MLflow stores a copy as WebP, which has at most 16,383 pixels a side
SIDE, LARGE = 200, 280  # sides of a panel and of a large panel, pixels
GAP = 12  # around a panel, pixels
LINE = 14  # height of a line of a title, pixels
LETTERS = range(11, 6, -1)  # sizes of letters, pixels; a title gets the largest that fits

Panel = tuple[str, Image.Image]  # a title and the square picture below it


def queries(manifest: Manifest, folder: Path, entries: list[masks.Entry]) -> Image.Image:
    """Return the first `MOST` queries of a round with their proposals; what must not matter is crossed out.

    Args:
        manifest: The round's queries.
        folder: The round's folder, which holds the queries' images.
        entries: All masks so far; only the masks of this round are drawn.
    """
    given = {entry.image_id: entry for entry in entries if entry.round == manifest.round and entry.kind != "spread"}
    panels = []
    for query in manifest.queries[:MOST]:
        panel, entry = _panel(Image.open(folder / query.image), SIDE), given.get(query.image_id)
        mask = entry.mask > 0.5 if entry else np.zeros((query.height, query.width), bool)
        if entry and entry.kind == "evidence":
            panel.paste(MARKED, mask=_crossed(mask))
        for p in query.proposals:
            disregarded = bool(mask[geometry.pixels(p, query.width, query.height)].all())
            corners = [(x * SIDE / query.width, y * SIDE / query.height) for x, y in p.corners()]
            if disregarded:
                inside = Image.new("1", panel.size)
                ImageDraw.Draw(inside).polygon(corners, fill=1)
                panel.paste(MARKED, mask=ImageChops.logical_and(inside, _crosses()))
            ImageDraw.Draw(panel).polygon(corners, outline=MARKED if disregarded else SHOWN, width=2)
        if entry and entry.kind == "evidence":
            panel.paste(EVIDENCE, mask=_outline(~mask, SIDE))
        said = f"{query.label}\n{query.prediction}" if query.finding else f"{query.label}, predicted {query.prediction}"
        panels.append((f"{said}\nentropy {query.entropy:.2f}", panel))
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    head = f"{manifest.scenario}, round {manifest.round}: shown (orange), must not matter (red), evidence (green)"
    if len(manifest.queries) > MOST:
        head += f"; the first {MOST} of {len(manifest.queries)} queries"
    return _sheet(rows, side=SIDE, head=head, columns=COLUMNS)


def explanations(
    images: Images, classes: list[str], saliency: dict[str, tuple[NDArray[np.floating], list[str]]]
) -> Image.Image:
    """Return a row an image: the image, then each arm's saliency under the class that the arm predicts.

    Args:
        images: B images with their true classes.
        classes: The names of the classes.
        saliency: For each arm, signed saliency (B, S, S) and the B predicted classes.
    """
    rows = []
    for n, picture in enumerate(images.pixels[:]):
        arms = [
            (f"{arm}: {predicted[n]}", _heat(picture, maps[n], SIDE)) for arm, (maps, predicted) in saliency.items()
        ]
        title = f"{images.ids[n]}: {labels.text(images.labels[n], classes) or 'no finding'}"
        rows.append([(title, _panel(Image.fromarray(picture), SIDE)), *arms])
    return _sheet(rows, side=SIDE)


def effect(
    picture: NDArray[np.uint8], entry: masks.Entry, *, maps: list[NDArray[np.floating]], shares: list[float]
) -> Image.Image:
    """Return a marked image, and beside it the saliency before and after a round; marks or evidence are outlined.

    Args:
        picture: The image (S, S, 3).
        entry: Its mask.
        maps: Saliency (S, S) before and after.
        shares: The share of the attention on what must not matter, 0..1, before and after.
    """
    evidence = entry.kind == "evidence"
    title, where = ("the evidence", "outside") if evidence else ("marked Disregard", "inside")
    panels = [(title, _panel(Image.fromarray(picture), LARGE))]
    for saliency, share, when in zip(maps, shares, ("before", "after"), strict=True):
        panels.append((f"{when}: {share:.0%} of the attention is {where}", _heat(picture, saliency, LARGE)))
    outline = _outline((entry.mask > 0) != evidence, LARGE)
    for _, panel in panels:
        panel.paste(EVIDENCE if evidence else MARKED, mask=outline)
    return _sheet([panels], side=LARGE)


def spread(images: Images, entries: list[masks.Entry], classes: list[str]) -> Image.Image:
    """Return the first images of these masks, with W in red; ``entries`` are of one round.

    Args:
        images: The training images.
        entries: The masks, answers first.
        classes: The names of the classes.
    """
    position, panels = {image_id: n for n, image_id in enumerate(images.ids)}, []
    for entry in entries[: 2 * COLUMNS]:
        n = position[entry.image_id]
        panel = _panel(Image.fromarray(images.pixels[[n]][0]), SIDE)
        panel.paste(MARKED, mask=_crossed(entry.mask > 0.5))
        whose = "spread" if entry.kind == "spread" else "an expert's marks"
        panels.append((f"{whose}: {labels.text(images.labels[n], classes) or 'no finding'}", panel))
    return _sheet([panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)], side=SIDE)


def curves(histories: dict[str, pd.DataFrame], title: str) -> Figure:
    """Return the accuracy and loss of each arm over the epochs, a panel a split; dotted lines start a round."""
    from matplotlib.figure import Figure

    columns = next(iter(histories.values())).columns
    splits = in_order(column.removesuffix("_accuracy") for column in columns if column.endswith("_accuracy"))
    figure = Figure(figsize=(3.4 * len(splits), 5.2))
    axes = figure.subplots(2, len(splits), squeeze=False, sharex=True)
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
    """Write a PNG without date and version, so that the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Image.Image):
        picture.save(path, "PNG")
    else:
        picture.savefig(path, dpi=90, metadata={"Software": None})


def _sheet(rows: list[list[Panel]], *, side: int, head: str = "", columns: int = 0) -> Image.Image:
    """Return a page with rows of panels, their titles above them, and room for at least ``columns`` panels."""
    above = GAP + LINE * max((title.count("\n") + 1 for row in rows for title, _ in row), default=0)
    top = 2 * GAP + LINE if head else 0
    width = GAP + max([columns, *map(len, rows)]) * (side + GAP)
    page = Image.new("RGB", (width, top + len(rows) * (above + side) + GAP), "white")
    draw = ImageDraw.Draw(page)
    if head:
        _write(draw, head, bottom=(width / 2, top), width=width - 2 * GAP)
    for n, row in enumerate(rows):
        for column, (title, panel) in enumerate(row):
            x, y = GAP + column * (side + GAP), top + n * (above + side) + above
            _write(draw, title, bottom=(x + side / 2, y - 3), width=side)
            page.paste(panel, (x, y))
    return page


def _write(draw: ImageDraw.ImageDraw, text: str, *, bottom: tuple[float, float], width: float) -> None:
    """Write text centred above a point, in the largest letters that fit, or else in the smallest."""
    fitting = (size for size in LETTERS if draw.multiline_textbbox((0, 0), text, _font(size))[2] <= width)
    draw.multiline_text(bottom, text, "black", _font(next(fitting, LETTERS[-1])), anchor="md", align="center")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


@cache
def _crosses() -> Image.Image:
    """Return a panel full of crossing lines."""
    x, y = np.indices((SIDE, SIDE))
    return Image.fromarray(((x + y) % 10 == 0) | ((x - y) % 10 == 0))


def _crossed(area: NDArray[np.bool_]) -> Image.Image:
    """Return the crossing lines of a panel inside an area (S, S)."""
    inside = Image.fromarray(area).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return ImageChops.logical_and(inside, _crosses())


def _outline(area: NDArray[np.bool_], side: int) -> Image.Image:
    """Return the outline of an area (S, S) on a panel; at the panel's border, too."""
    inside = Image.fromarray(area.astype(np.uint8) * 255).resize((side, side), Image.Resampling.NEAREST)
    framed = ImageOps.expand(inside, border=2)
    return ImageOps.crop(ImageChops.subtract(framed, framed.filter(ImageFilter.MinFilter(5))), border=2)


def _panel(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.BOX)


def _heat(picture: NDArray[np.uint8], saliency: NDArray[np.floating], side: int) -> Image.Image:
    """Return signed saliency (S, S) over a faint picture (S, S, 3): red is for the class, blue against it."""
    import matplotlib

    limit = np.abs(saliency).max() or 1.0
    colours = matplotlib.colormaps["RdBu_r"](saliency / limit / 2 + 0.5)[..., :3] * 255
    faint = 0.4 * picture.mean(axis=2, keepdims=True) + 0.6 * 255
    return _panel(Image.fromarray((0.8 * colours + 0.2 * faint).round().astype(np.uint8)), side)
