"""Spreading: from the answers so far, masks for the images that were no query.

A logistic regression tells, of a cell of the grid, whether experts would mark it. It learns from the cells that experts
were shown: marked against not marked. Of an image whose evidence is known, it learns from all cells. Its inputs are the
features of ``pipeline.feedback.cells``, from the scenario's initial network, which does not change in training.
Cross-validation (``pipeline.feedback.skill``) chooses the features, measures the skill and calibrates the
probabilities. A cell counts as marked from a limit on; among all cells above the limit, the expected precision is as
wanted. Without skill, nothing is spread.

The shown cells are the most salient ones, and experts mark fewer of them than they would mark elsewhere. The precision
on shown cells alone is therefore too low, and a limit from them would spread hardly anything.

A few answers thereby reach every image. Close to it are weak supervision by labelling functions (Ratner et al. 2017,
*Snorkel*, https://arxiv.org/abs/1711.10160) and few-shot segmentation by a linear probe; the use for feedback is ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from threadpoolctl import threadpool_limits

from pipeline.config import Scenario, Spread
from pipeline.data.loading import Images
from pipeline.feedback.cells import Judged, features, judged_cells
from pipeline.feedback.masks import Entry
from pipeline.feedback.skill import Skill, inputs_of, measure, probabilities, regression
from pipeline.models import classifier, tasks

SAMPLED = 100  # training images whose cells set the limit
AT_ONCE = 32  # images


@dataclass(frozen=True)
class Spreader:
    """A model of the experts' marks so far.

    Attributes:
        cells: The cells that it has learned from.
        skill: How well it predicts marks.
        model: A fitted model of marks; None without skill.
        scale: Platt's scaling of the model's probabilities; None without skill.
    """

    cells: Judged
    skill: Skill
    model: Any = None
    scale: Any = None

    def entries(self, round: str, images: Images, *, asked: Iterable[str]) -> list[Entry]:
        """Return the masks of all images that were no query, for images with a mark only.

        Args:
            round: The round in which they hold.
            images: The training images.
            asked: The ids of the images that were queries.
        """
        if self.skill.limit is None:
            return []
        known, found = set(asked), list[Entry]()
        size = images.pixels[[0]].shape[1]
        others = [n for n, image_id in enumerate(images.ids) if image_id not in known]
        for n, cells in zip(others, self._read(images, others, "spreading marks"), strict=True):
            marked = cells >= self.skill.limit
            if marked.any():
                area = self.cells.grid.area(marked, size)
                found.append(Entry.of(round, images.ids[n], area, np.zeros((size, size), bool), kind="spread"))
        return found

    def believed(self, images: Images, ids: list[str]) -> dict[str, NDArray[np.bool_]]:
        """Return the pixels (S, S) that experts would rather mark than not, by image id; empty without skill.

        The probabilities are calibrated on cells that experts were shown, as these images' regions will be.
        """
        if self.model is None:
            return {}
        size, position = images.pixels[[0]].shape[1], {image_id: n for n, image_id in enumerate(images.ids)}
        everything = self._read(images, [position[image_id] for image_id in ids], "pre-filling marks")
        marked = (_calibrated(self.scale, cells) > 0.5 for cells in everything)
        return {i: self.cells.grid.area(cells, size) for i, cells in zip(ids, marked, strict=True)}

    def doubt(self, images: Images) -> NDArray[np.float64] | None:
        """Return the mean entropy of an image's cells, marked or not marked, of each image (N,); None without skill.

        The probabilities are calibrated. The values run from 0 (certain) to 1 (undecided).
        """
        if self.model is None:
            return None
        everything = self._read(images, list(range(len(images.ids))), "reading cells")
        return np.array([_entropy(_calibrated(self.scale, cells)).mean() for cells in everything])

    def _read(self, images: Images, positions: list[int], what: str) -> Iterator[NDArray[np.float64]]:
        """Yield the probability of each cell (G²,) of these images."""
        for start in track(range(0, len(positions), AT_ONCE), what, disable=not sys.stdout.isatty()):
            pixels = images.pixels[positions[start : start + AT_ONCE]]
            known = features(self.cells.network, pixels, self.cells.grid)
            cells = inputs_of(known, self.skill.inputs)
            yield from probabilities(self.model, cells.reshape(-1, cells.shape[-1])).reshape(cells.shape[:2])


def from_answers(entries: list[Entry], images: Images, settings: Scenario, classes: list[str]) -> Spreader:
    """Learn from all answers so far which cells experts mark.

    Args:
        entries: The masks of all rounds so far.
        images: The training images.
        settings: The scenario's settings. Its initial network, and not the network in training, reads the cells.
        classes: Class names.
    """
    findings = tasks.of(images.labels).findings
    network = classifier.initial(settings.init, classes, images.side, findings=findings)
    cells = judged_cells(entries, images, network, cell=settings.query.cell)
    return learn(cells, images, precision=(settings.feedback.spread or Spread()).precision)


# On several cores, a problem this small takes longer, and rounds otherwise.
@threadpool_limits.wrap(limits=1, user_api="blas")
def learn(cells: Judged, images: Images, *, precision: float) -> Spreader:
    """Learn from judged cells which cells experts mark.

    Args:
        cells: The judged cells.
        images: The training images.
        precision: The share of the spread cells that must be right, as cross-validation expects it.
    """
    skill, left_out = measure(cells)
    if skill.problem:
        return Spreader(cells, skill)
    model = regression().fit(inputs_of(cells.features, skill.inputs), cells.marked)
    spreader = Spreader(cells, skill, model, _scale(left_out, cells.marked))
    some = np.unique(np.linspace(0, len(images.ids) - 1, SAMPLED).astype(int)).tolist()
    found = np.sort(np.concatenate(list(spreader._read(images, some, "setting the limit"))))[::-1]
    right = _calibrated(spreader.scale, found)
    expected = np.cumsum(right) / np.arange(1, len(right) + 1)
    if not (expected >= precision).any():
        return replace(spreader, skill=replace(skill, problem=f"no limit reaches a precision of {precision:.0%}"))
    last = int(np.flatnonzero(expected >= precision)[-1])
    recall = float(right[: last + 1].sum() / right.sum())
    limited = replace(skill, limit=float(found[last]), precision=float(expected[last]), recall=recall)
    return replace(spreader, skill=limited)


def _scale(left_out: NDArray[np.float64], labels: NDArray[np.bool_]) -> Any:
    """Return Platt's scaling, fitted to the probabilities of left-out cells (n,).

    Platt 1999, *Probabilistic outputs for support vector machines*. A strong penalty makes a regression too modest.
    """
    from sklearn.linear_model import LogisticRegression  # here, because importing scikit-learn takes seconds

    return LogisticRegression(C=1e6).fit(_logits(left_out), labels)


def _calibrated(scale: Any, found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often cells with these probabilities are marked."""
    return probabilities(scale, _logits(found))


def _logits(p: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = p.clip(1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside / (1 - inside)))[:, None]


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of probabilities, in bits."""
    inside = p.clip(1e-9, 1 - 1e-9)
    return np.asarray(-inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside))
