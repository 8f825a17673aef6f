"""Cells: the squares of a grid on an image, each with its features, and the cells that experts judged.

A cell's features are the network's activations at two middle stages, averaged over the cell; the mean and the spread
of its colours; its place, and its distance from the image's centre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from pipeline.data.loading import Images, as_tensor
from pipeline.feedback import masks
from pipeline.feedback.masks import Entry
from pipeline.models.classifier import Classifier
from pipeline.models.modes import in_eval

FEATURES = ("network", "colour", "place")

T = TypeVar("T", bound=np.generic)
Features = dict[str, NDArray[np.float32]]  # name → (B, G², F): a row a cell


@dataclass(frozen=True)
class Grid:
    """The cells of square images: ``side`` cells of ``cell`` pixels in each direction."""

    side: int
    cell: int

    @classmethod
    def of(cls, size: int, cell: int) -> Grid:
        """Return the grid of images of ``size`` pixels; pixels beyond the last whole cell belong to none."""
        return cls(size // cell, cell)

    def shares(self, area: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the mean of an area (S, S) in each cell, (G²,)."""
        used = area[: self.side * self.cell, : self.side * self.cell].astype(np.float64)
        return used.reshape(self.side, self.cell, self.side, self.cell).mean(axis=(1, 3)).ravel()

    def area(self, values: NDArray[T], size: int) -> NDArray[T]:
        """Return the pixels (S, S) with their cells' values (G²,); pixels of no cell are 0."""
        area = np.zeros((size, size), values.dtype)
        cells = values.reshape(self.side, self.side).repeat(self.cell, axis=0).repeat(self.cell, axis=1)
        area[: len(cells), : len(cells)] = cells
        return area


@dataclass(frozen=True)
class Judged:
    """The n cells that experts judged.

    Attributes:
        network: The network that made the features.
        grid: The cells of an image.
        features: By name, (n, F).
        marked: Whether experts marked the cell, (n,).
        owners: The number of the cell's image in the order of the answers, (n,).
    """

    network: Classifier
    grid: Grid
    features: Features
    marked: NDArray[np.bool_]
    owners: NDArray[np.intp]

    def first(self, answers: int) -> Judged:
        """Return the cells of the first answers."""
        some = self.owners < answers
        known = {name: rows[some] for name, rows in self.features.items()}
        return Judged(self.network, self.grid, known, self.marked[some], self.owners[some])


def judged_cells(entries: list[Entry], images: Images, network: Classifier, *, cell: int) -> Judged:
    """Return the cells that experts judged in all rounds so far, with their features.

    A cell was judged if at least half of it was shown to experts, or marked by drawing. Where experts said where the
    evidence is, every cell was judged.

    Args:
        entries: The masks of all rounds so far.
        images: The training images.
        network: The scenario's initial network.
        cell: The side of a cell, pixels.
    """
    judged = [entry for entry in entries if entry.judged]
    marked, asked = masks.marked(judged), masks.asked(judged)
    position = {image_id: n for n, image_id in enumerate(images.ids)}
    grid = Grid.of(images.pixels[[0]].shape[1], cell)
    rows, labels, owners = list[Features](), list[NDArray[np.bool_]](), list[NDArray[np.intp]]()
    for number, image_id in enumerate(asked):
        disregarded = grid.shares(marked[image_id]) if image_id in marked else np.zeros(grid.side**2)
        shown = (grid.shares(asked[image_id]) >= 0.5) | (disregarded >= 0.5)
        of_image = features(network, images.pixels[[position[image_id]]], grid)
        rows.append({name: values[0][shown] for name, values in of_image.items()})
        labels.append(disregarded[shown] >= 0.5)
        owners.append(np.full(int(shown.sum()), number))
    known = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}
    marks, numbers = np.concatenate([[], *labels]).astype(bool), np.concatenate([[], *owners]).astype(np.intp)
    return Judged(network, grid, known, marks, numbers)


def features(network: Classifier, pixels: NDArray[np.uint8], grid: Grid) -> Features:
    """Return the features of each cell of some images (B, S, S, 3) uint8, by the names of ``FEATURES``."""
    images = as_tensor(pixels)[..., : grid.side * grid.cell, : grid.side * grid.cell]
    found = {"colour": _colour(images, grid), "place": _place(len(pixels), grid)}
    with in_eval(network), torch.inference_mode():
        stages = _middle_stages(network, network.normalise(images), grid)
    if stages:
        found["network"] = np.concatenate([_rows(adaptive_avg_pool2d(stage, grid.side)) for stage in stages], axis=2)
    return found


def _middle_stages(network: Classifier, x: Tensor, grid: Grid) -> list[Tensor]:
    """Return the last stages with at least two by two activations, and with at least one, in each cell.

    A network that does not offer its stages through timm's `forward_intermediates` has none here.
    """
    stages: Callable[..., list[Tensor]] | None = getattr(network.network, "forward_intermediates", None)
    if stages is None:
        return []
    found = stages(x, intermediates_only=True, output_fmt="NCHW")
    fine = [[stage for stage in found if stage.shape[-1] >= least] for least in (2 * grid.side, grid.side)]
    return [some[-1] for some in fine if some]


def _colour(images: Tensor, grid: Grid) -> NDArray[np.float32]:
    mean = avg_pool2d(images, grid.cell)
    spread = (avg_pool2d(images.square(), grid.cell) - mean.square()).clamp(min=0).sqrt()
    return _rows(torch.cat([mean, spread], dim=1))


def _place(count: int, grid: Grid) -> NDArray[np.float32]:
    middle = (np.arange(grid.side, dtype=np.float32) + 0.5) / grid.side * 2 - 1  # -1..1
    down, across = np.repeat(middle, grid.side), np.tile(middle, grid.side)
    place = np.stack([down, across, np.hypot(down, across)], axis=1)
    return np.broadcast_to(place, (count, *place.shape))


def _rows(maps: Tensor) -> NDArray[np.float32]:
    """Return maps (B, F, G, G) as rows (B, G², F)."""
    rows: NDArray[np.float32] = maps.flatten(2).transpose(1, 2).numpy()
    return rows
