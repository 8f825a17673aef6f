"""Spreading: from the answers so far, masks for the images that were no query.

A logistic regression tells, of a cell of the grid, whether experts would mark it. It learns from the cells that experts
were shown: marked against not marked. Its inputs are the features of ``pipeline.feedback.cells``, from the scenario's
initial network, which does not change in training. Cross-validation over images chooses the features, measures the
skill and calibrates the probabilities. A cell counts as marked from a limit on; among all cells above the limit, the
expected precision is as wanted. Without skill, nothing is spread.

The shown cells are the most salient ones, and experts mark fewer of them than they would mark elsewhere. The precision
on shown cells alone is therefore too low, and a limit from them would spread hardly anything.

A few answers thereby reach every image. Close to it are weak supervision by labelling functions (Ratner et al. 2017,
*Snorkel*, https://arxiv.org/abs/1711.10160) and few-shot segmentation by a linear probe; the use for feedback is ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from threadpoolctl import threadpool_limits

from pipeline.data.loading import Images
from pipeline.feedback import masks
from pipeline.feedback.cells import Features, Grid, features
from pipeline.feedback.masks import Entry
from pipeline.models.classifier import Classifier

INPUTS = (("network",), ("colour", "place"), ("network", "colour", "place"))  # equally good: the first one
FOLDS = 5
PENALTY = 0.01  # C of the logistic regression: a few hundred cells against about as many features
SAMPLED = 100  # training images whose cells set the limit
RESAMPLED = 300  # bootstrap samples of images, for the interval of the AUC
CURVE = (5, 10, 20, 50, 100, 200, 500)  # answers
AT_ONCE = 32  # images


@dataclass(frozen=True)
class Skill:
    """How well marks are predicted on images that were left out, by cross-validation.

    Attributes:
        answers: The number of images to learn from.
        cells: The number of their cells that experts judged.
        inputs: The names of the features in use.
        auc: The area under the ROC curve, with a 95% interval over images; None with too few answers.
        limit: The probability from which a cell counts as marked; None if nothing is spread.
        precision: The expected share of right cells among all cells above the limit.
        recall: The expected share of the cells above the limit among all cells that must not matter.
        problem: Why nothing is spread; empty if something is.
    """

    answers: int
    cells: int
    inputs: tuple[str, ...] = ()
    auc: tuple[float, float, float] | None = None
    limit: float | None = None
    precision: float | None = None
    recall: float | None = None
    problem: str = ""

    def words(self) -> str:
        """Return one line about the skill, for people."""
        learned = f"{self.answers} answers on {self.cells} cells"
        if self.auc is None:
            return f"nothing spread, {learned}: {self.problem}"
        auc, low, high = self.auc
        skill = f"{learned}, AUC {auc:.2f} [{low:.2f}, {high:.2f}]"
        if self.limit is None:
            return f"nothing spread, {skill}: {self.problem}"
        return f"{skill}, precision {self.precision:.0%}, recall {self.recall:.0%}, from {', '.join(self.inputs)}"


@dataclass(frozen=True)
class Cells:
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

    def first(self, answers: int) -> Cells:
        """Return the cells of the first answers."""
        some = self.owners < answers
        known = {name: rows[some] for name, rows in self.features.items()}
        return Cells(self.network, self.grid, known, self.marked[some], self.owners[some])


@dataclass(frozen=True)
class Spreader:
    """A model of the experts' marks so far."""

    network: Classifier
    grid: Grid
    skill: Skill
    model: Any  # a fitted scikit-learn pipeline; None where the skill has no limit

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
        others = [n for n, image_id in enumerate(images.ids) if image_id not in known]
        starts = range(0, len(others), AT_ONCE)
        for start in track(starts, "spreading marks", disable=not sys.stdout.isatty()):
            some = others[start : start + AT_ONCE]
            pixels = images.pixels[some]
            probabilities = _spread(self.model, self.skill.inputs, self.network, self.grid, pixels)
            for n, marked in zip(some, probabilities >= self.skill.limit, strict=True):
                if marked.any():
                    area, size = self.grid.area(marked, pixels.shape[1]), pixels.shape[1]
                    found.append(Entry.of(round, images.ids[n], area, np.zeros((size, size), bool), kind="spread"))
        return found


def judged_cells(entries: list[Entry], images: Images, network: Classifier, *, cell: int) -> Cells:
    """Return the cells that experts judged in all rounds so far, with their features.

    A cell was judged if at least half of it was shown to experts, or marked by drawing.

    Args:
        entries: The masks of all rounds so far.
        images: The training images.
        network: The scenario's initial network.
        cell: The side of a cell, pixels.
    """
    judged = [entry for entry in entries if entry.kind == "judged"]
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
    return Cells(network, grid, known, marks, numbers)


# On several cores, a problem this small takes longer, and rounds otherwise.
@threadpool_limits.wrap(limits=1, user_api="blas")
def learn(cells: Cells, images: Images, *, precision: float) -> Spreader:
    """Learn from judged cells which cells experts mark.

    Args:
        cells: The judged cells.
        images: The training images.
        precision: The share of the spread cells that must be right, as cross-validation expects it.
    """
    skill, left_out = _skill(cells)
    if skill.problem:
        return Spreader(cells.network, cells.grid, skill, None)
    model = _regression().fit(_inputs(cells.features, skill.inputs), cells.marked)
    some = np.unique(np.linspace(0, len(images.ids) - 1, SAMPLED).astype(int)).tolist()
    found = np.sort(_spread(model, skill.inputs, cells.network, cells.grid, images.pixels[some]).ravel())[::-1]
    right = _calibrated(left_out, cells.marked, found)
    expected = np.cumsum(right) / np.arange(1, len(right) + 1)
    if not (expected >= precision).any():
        problem = f"no limit reaches a precision of {precision:.0%}"
        return Spreader(cells.network, cells.grid, replace(skill, problem=problem), None)
    last = int(np.flatnonzero(expected >= precision)[-1])
    recall = float(right[: last + 1].sum() / right.sum())
    skill = replace(skill, limit=float(found[last]), precision=float(expected[last]), recall=recall)
    return Spreader(cells.network, cells.grid, skill, model)


@threadpool_limits.wrap(limits=1, user_api="blas")
def curve(cells: Cells) -> list[tuple[int, float]]:
    """Return the cross-validated AUC after the first answers, as pairs of answers and AUC.

    It shows whether more answers would help. Numbers of answers that are too few to learn from are left out.
    """
    answers = len(np.unique(cells.owners))
    skills = {count: _skill(cells.first(count))[0] for count in [*(n for n in CURVE if n < answers), answers]}
    return [(count, skill.auc[0]) for count, skill in skills.items() if skill.auc]


def _skill(cells: Cells) -> tuple[Skill, NDArray[np.float64]]:
    """Return the skill of the best inputs, without a limit, and the probability of each cell (n,) when left out."""
    from sklearn.metrics import roc_auc_score  # here, because importing scikit-learn takes seconds

    known, labels, owners = cells.features, cells.marked, cells.owners
    answers, count = len(np.unique(owners)), len(labels)
    if not answers:
        return Skill(0, 0, problem="no answers"), np.zeros(0)
    fewest = min(len(np.unique(owners[labels == which])) for which in (True, False))
    if fewest < FOLDS:
        which = "marked" if len(np.unique(owners[labels])) == fewest else "unmarked"
        problem = f"only {fewest} images have {which} cells, and {FOLDS} are needed"
        return Skill(answers, count, problem=problem), np.zeros(0)
    offered = [inputs for inputs in INPUTS if known.keys() >= set(inputs)]
    predicted = {inputs: _left_out(_inputs(known, inputs), labels, owners) for inputs in offered}
    inputs = max(offered, key=lambda some: roc_auc_score(labels, predicted[some]))
    found = predicted[inputs]
    auc = _with_interval(labels, found, owners)
    return Skill(answers, count, inputs, auc, problem="" if auc[1] > 0.5 else "no skill shown"), found


def _calibrated(
    left_out: NDArray[np.float64], labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how often cells with these probabilities are marked, by Platt's scaling on the left-out cells.

    Platt 1999, *Probabilistic outputs for support vector machines*. A strong penalty makes a regression too modest.
    """
    from sklearn.linear_model import LogisticRegression

    def logits(p: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = p.clip(1e-9, 1 - 1e-9)
        return np.asarray(np.log(inside / (1 - inside)))[:, None]

    scale = LogisticRegression(C=1e6).fit(logits(left_out), labels)
    return _probabilities(scale, logits(probabilities))


def _left_out(cells: NDArray[np.float32], labels: NDArray[np.bool_], owners: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the probability of each cell (n,), from a model that has seen no cell of the same image."""
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.zeros(len(labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for seen, left_out in folds.split(cells, labels, owners):
        if labels[seen].all() or not labels[seen].any():  # a fold may take all images of a rare label
            found[left_out] = labels[seen].mean()
        else:
            found[left_out] = _probabilities(_regression().fit(cells[seen], labels[seen]), cells[left_out])
    return found


def _with_interval(
    labels: NDArray[np.bool_], predicted: NDArray[np.float64], owners: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Return the AUC with a 95% interval from bootstrap samples of images."""
    from sklearn.metrics import roc_auc_score

    rng, cells = np.random.default_rng(0), [np.flatnonzero(owners == owner) for owner in np.unique(owners)]
    found = []
    for _ in range(RESAMPLED):
        some = np.concatenate([cells[n] for n in rng.integers(len(cells), size=len(cells))])
        if labels[some].any() and not labels[some].all():
            found.append(roc_auc_score(labels[some], predicted[some]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(roc_auc_score(labels, predicted)), float(low), float(high)


def _spread(
    model: Any, inputs: tuple[str, ...], network: Classifier, grid: Grid, pixels: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return the probability of each cell of some images (B, S, S, 3), (B, G²)."""
    found = []
    for start in range(0, len(pixels), AT_ONCE):
        cells = _inputs(features(network, pixels[start : start + AT_ONCE], grid), inputs)
        found.append(_probabilities(model, cells.reshape(-1, cells.shape[-1])).reshape(cells.shape[:2]))
    return np.concatenate(found)


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))


def _probabilities(model: Any, cells: NDArray[np.floating]) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = model.predict_proba(cells)[:, 1]
    return probabilities


def _inputs(known: Features, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the named features side by side, (…, F)."""
    return np.concatenate([known[name] for name in names], axis=-1)
