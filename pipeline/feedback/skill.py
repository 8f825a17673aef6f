"""How well experts' marks can be predicted: a logistic regression on cells, and its cross-validation over images.

Cross-validation chooses the features, measures the skill, and calibrates the probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.feedback.cells import Features, Judged

INPUTS = (("network",), ("colour", "place"), ("network", "colour", "place"))  # equally good: the first one
FOLDS = 5
PENALTY = 0.01  # C of the logistic regression: a few hundred cells against about as many features
RESAMPLED = 300  # bootstrap samples of images, for the interval of the AUC
CURVE = (5, 10, 20, 50, 100, 200, 500)  # answers


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


@threadpool_limits.wrap(limits=1, user_api="blas")
def curve(cells: Judged) -> list[tuple[int, float]]:
    """Return the cross-validated AUC after the first answers, as pairs of answers and AUC.

    It shows whether more answers would help. Numbers of answers that are too few to learn from are left out.
    """
    answers = len(np.unique(cells.owners))
    skills = {count: measure(cells.first(count))[0] for count in [*(n for n in CURVE if n < answers), answers]}
    return [(count, skill.auc[0]) for count, skill in skills.items() if skill.auc]


def measure(cells: Judged) -> tuple[Skill, NDArray[np.float64]]:
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
    predicted = {inputs: _left_out(inputs_of(known, inputs), labels, owners) for inputs in offered}
    inputs = max(offered, key=lambda some: roc_auc_score(labels, predicted[some]))
    found = predicted[inputs]
    auc = _with_interval(labels, found, owners)
    return Skill(answers, count, inputs, auc, problem="" if auc[1] > 0.5 else "no skill shown"), found


def regression() -> Any:
    """Return the model of a cell's marks, before it is fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))


def probabilities(model: Any, cells: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the fitted model's probability of each cell (n,)."""
    found: NDArray[np.float64] = model.predict_proba(cells)[:, 1]
    return found


def inputs_of(known: Features, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the named features side by side, (…, F)."""
    return np.concatenate([known[name] for name in names], axis=-1)


def _left_out(cells: NDArray[np.float32], labels: NDArray[np.bool_], owners: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the probability of each cell (n,), from a model that has seen no cell of the same image."""
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.zeros(len(labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for seen, left_out in folds.split(cells, labels, owners):
        if labels[seen].all() or not labels[seen].any():  # a fold may take all images of a rare label
            found[left_out] = labels[seen].mean()
        else:
            found[left_out] = probabilities(regression().fit(cells[seen], labels[seen]), cells[left_out])
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
