"""The tables of the comparison: the paper's Table 2 with test splits and intervals, and differences between arms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import EXTERNAL, in_order
from pipeline.evaluation.groups import FEW, Groups, Lowest, lowest_accuracy, lowest_recall
from pipeline.evaluation.predictions import Outcomes
from pipeline.evaluation.score_files import Scores
from pipeline.evaluation.statistics import Interval, mcnemar, mean_over_images, share_of_images, show, verdict
from pipeline.report.comparison import Result
from pipeline.report.table import Table

CAVEAT = (
    "Intervals are 95% intervals over the test images. They do not cover training: this is one seed, and another "
    "seed may give another result."
)

OF_FINDINGS = (
    " With findings, an image counts as right if all of its findings are, and its loss is the mean of their binary "
    "cross-entropies."
)
AREAS = {"AUC": "auc", "Average precision": "average_precision"}
LOWEST = (
    "A group is all images with one value of the attribute. Groups, and classes of a group, with under "
    f"{FEW} images are no candidates. The interval is about the lowest true value of all candidates: each has an "
    "interval that is widened for their number (Bonferroni), and the lowest ends of these intervals are shown."
)

Row = dict[str, str]  # head → text of the cell


def tables(results: dict[str, Result]) -> list[Table]:
    """Return the tables of the comparison, the most important first.

    Each has a row for each scenario and arm, and only the columns with a value in some row.
    """
    external = in_order(
        s for result in results.values() for s in result.outcomes["automated"] if s.startswith(EXTERNAL)
    )
    return [
        _table(
            "Every arm",
            results,
            _final,
            "Accuracies and losses (cross-entropy, nats) are of an arm's final network. The minimum loss is the lowest "
            "loss on val of all epochs of the arm, as in the paper. Intervals are 95% intervals over the images."
            + (OF_FINDINGS if any(r.outcomes["automated"]["val"].findings for r in results.values()) else ""),
        ),
        _table(
            "Each arm minus automated, on the same images",
            results,
            _minus_automated,
            f"Differences between the final networks, in points of accuracy and in loss. {CAVEAT}",
        ),
        *(table for split in external for table in _on_external(results, split)),
        *_of_groups(results),
        _table("Other scores on test", results, partial(_other_scores, split="test")),
        *(table for split in ("test", *external) if (table := _each_finding(results, split)).rows),
        _table(
            "Scores on test after the epoch with the lowest loss on val",
            results,
            _selected,
            "For comparison with work that selects an epoch. All other tables are about the final networks.",
        ),
    ]


def paired(ours: Outcomes, theirs: Outcomes) -> tuple[Interval, Interval]:
    """Return the differences of accuracy and of loss on the same images, ours minus theirs."""
    accuracy = mean_over_images(ours.right.astype(float) - theirs.right)
    return accuracy, mean_over_images(ours.loss - theirs.loss)


def rounded_p(ours: Outcomes, theirs: Outcomes) -> str:
    """Return McNemar's p for two networks on the same images, to three digits."""
    p = mcnemar(ours.right, theirs.right)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _table(title: str, results: dict[str, Result], row: Callable[[Result, str], Row], note: str = "") -> Table:
    """Return a table with a row for each scenario and arm, except a row without any cell."""
    rows = {(name, arm): row(result, arm) for name, result in results.items() for arm in result.scores}
    rows = {key: cells for key, cells in rows.items() if cells}
    possible = dict.fromkeys(head for cells in rows.values() for head in cells)
    heads = [head for head in possible if any(cells.get(head) for cells in rows.values())]
    body = []
    for (name, arm), cells in rows.items():
        size = f"{results[name].images}, {results[name].classes}"
        body.append([f"{name} ({size})", arm, *(cells.get(head, "") for head in heads)])
    return Table(title, ["Scenario (N, classes)", "Arm", *heads], body, note)


def _on_external(results: dict[str, Result], split: str) -> list[Table]:
    """Return the tables of an external test set: every arm beside `automated`, and other scores."""

    def every(result: Result, arm: str) -> Row:
        if split not in result.outcomes[arm]:
            return {}
        ours, theirs = result.outcomes[arm][split], result.outcomes["automated"][split]
        row = {"Accuracy (%)": _accuracy(ours.right), "Loss": show(mean_over_images(ours.loss))}
        if arm == "automated":
            return row
        accuracy, loss = paired(ours, theirs)
        return row | {
            "Accuracy minus automated (points)": _with_verdict(accuracy, scale=100, digits=1),
            "McNemar p": rounded_p(ours, theirs),
            "Loss minus automated": _with_verdict(loss, scale=1, digits=2),
        }

    name = split.removeprefix(EXTERNAL)
    note = f"Neither training nor the selection of an epoch has read these images. {CAVEAT}"
    return [
        _table(f"The external test set {name}", results, every, note),
        _table(f"Other scores on the external test set {name}", results, partial(_other_scores, split=split)),
    ]


def _of_groups(results: dict[str, Result]) -> Iterator[Table]:
    """Yield a table of the lowest groups of each attribute, then a table of all groups on each split."""
    named = [(name, attribute) for name, result in results.items() for attribute in _by_attribute(result, "automated")]
    for attribute in dict.fromkeys(attribute for _, attribute in named):
        note = LOWEST + _without(results, attribute)
        yield _table(f"Lowest group by {attribute}", results, partial(_lowest, attribute=attribute), note)
    for name, attribute in named:
        for split in _measured(results[name].groups["automated"][attribute]):
            yield _groups(results[name], f"{name}: groups by {attribute}, {split}", attribute, split)


def lowest_in_words(result: Result) -> Iterator[str]:
    """Yield a sentence on the lowest accuracy, and on the lowest recall, by each attribute on each test split."""
    for attribute, by_split in _by_attribute(result, "automated").items():
        for head in _lowest(result, "automated", attribute=attribute) if by_split else ():
            cells = {arm: _lowest(result, arm, attribute=attribute)[head] for arm in result.outcomes}
            if all(cells.values()):
                found = "; ".join(f"{arm} {cell}" for arm, cell in cells.items())
                yield f"{head.replace(', ', f' of the groups by {attribute}, ')}: {found}."


def _without(results: dict[str, Result], attribute: str) -> str:
    """Return a sentence for each scenario with the attribute that has images of a split without any value of it."""
    found = ""
    for name, result in results.items():
        if attribute in _by_attribute(result, "automated"):
            splits = set(result.outcomes["automated"]) - set(result.groups["automated"][attribute])
            if lacking := _measured(splits):
                found += f" No image has a value of {attribute} in {name}: {', '.join(lacking)}."
    return found


def _by_attribute(result: Result, arm: str) -> Groups:
    return result.groups.get(arm, {})


def _lowest(result: Result, arm: str, *, attribute: str) -> Row:
    """Return an arm's lowest accuracy and recall of the groups on each test split."""
    found: Row = {}
    by_split = _by_attribute(result, arm).get(attribute, {})
    for split in _measured(by_split):
        for what, lowest in (("accuracy", lowest_accuracy), ("recall", lowest_recall)):
            one = lowest(by_split[split])
            found[f"Lowest {what}, {split} (%)"] = f"{_share(one.share)}, {_named(one, attribute)}" if one else ""
    return found


def _named(one: Lowest, attribute: str) -> str:
    group = f"{attribute} {one.value}"
    return f"{one.label}, {group}" if one.label else group


def _groups(result: Result, title: str, attribute: str, split: str) -> Table:
    """Return every arm in each group of an attribute on a split."""
    by_arm = {arm: _by_attribute(result, arm)[attribute][split] for arm in result.outcomes}
    whole = sorted(by_arm["automated"], key=lambda group: -len(group.by_class))  # most first, to keep their order
    classes = list(dict.fromkeys(label for group in whole for label in group.by_class))
    rows = []
    for place, group in enumerate(by_arm["automated"]):
        count = f"{len(group.right)}{', few' if len(group.right) < FEW else ''}"
        for arm, groups in by_arm.items():
            recalls = [_recall(groups[place].by_class.get(label)) for label in classes]
            rows.append([group.value, arm, count, _accuracy(groups[place].right), *recalls])
    heads = [attribute, "Arm", "Images", "Accuracy (%)", *(f"Recall, {c} (%)" for c in classes)]
    note = f"few: under {FEW} images, which show little, and are no candidate for the lowest."
    return Table(title, heads, rows, note)


def _recall(right: NDArray[np.bool_] | None) -> str:
    if right is None:
        return ""
    return _share(share_of_images(right)) + (", few" if len(right) < FEW else "")


def _final(result: Result, arm: str) -> Row:
    """Return the cells of an arm's final network, with the intervals over images."""
    outcomes = result.outcomes[arm]
    row = {
        "Accuracy, val (%)": _accuracy(outcomes["val"].right),
        "Minimum loss, val": _number(result.scores[arm]["min_loss"]),
    }
    for split in _tests(outcomes):
        row[f"Accuracy, {split} (%)"] = _accuracy(outcomes[split].right)
        row[f"Loss, {split}"] = show(mean_over_images(outcomes[split].loss))
    return row


def _minus_automated(result: Result, arm: str) -> Row:
    """Return the cells of an arm beside `automated`, on the same images; none for `automated` itself."""
    if arm == "automated":
        return {}
    ours, theirs, row = result.outcomes[arm], result.outcomes["automated"], {}
    for split in _tests(ours):
        accuracy, loss = paired(ours[split], theirs[split])
        row[f"Accuracy, {split} (points)"] = _with_verdict(accuracy, scale=100, digits=1)
        row[f"McNemar p, {split}"] = rounded_p(ours[split], theirs[split])
        row[f"Loss, {split}"] = _with_verdict(loss, scale=1, digits=2)
    return row


def _measured(splits: Iterable[str]) -> list[str]:
    """Return the test splits, and the external test sets."""
    return [split for split in in_order(splits) if split.startswith(("test", EXTERNAL))]


def _tests(splits: Iterable[str]) -> list[str]:
    """Return `test` and the further test splits, such as `test-shifted`."""
    return [split for split in in_order(splits) if split.startswith("test")]


def _other_scores(result: Result, arm: str, *, split: str) -> Row:
    """Return the cells of an arm on a split; none if the scenario does not have the split."""
    if split not in result.outcomes[arm]:
        return {}
    scores = result.scores[arm]
    worst = min((value for name, value in scores.items() if name.startswith(f"{split}_recall_")), default=None)
    return {
        "Balanced accuracy (%)": _percent(scores.get(f"{split}_balanced_accuracy")),
        "AUC": _number(scores.get(f"{split}_auc")),
        "Kappa": _number(scores.get(f"{split}_kappa")),
        "Calibration error": _number(scores.get(f"{split}_ece")),
        "Worst class's recall (%)": _percent(worst),
        "Worst patient's accuracy (%)": _percent(scores.get(f"{split}_worst_group_accuracy")),
    }


def _each_finding(results: dict[str, Result], split: str) -> Table:
    """Return a table of a split with a row for each finding of each arm, and their means; no rows without findings."""
    rows = []
    for name, result in results.items():
        for arm, outcomes in result.outcomes.items():
            found, scores = outcomes[split].findings if split in outcomes else {}, result.scores[arm]
            for finding, (there, predicted) in found.items():
                shares = [_accuracy(some) if some.size else "" for some in (predicted[there], there[predicted])]
                areas = [_number(scores.get(f"{split}_{metric}_{finding}")) for metric in AREAS.values()]
                rows.append([name, arm, finding, *shares, *areas])
            if found:
                shares = [_percent(scores.get(f"{split}_{metric}")) for metric in ("recall", "precision")]
                areas = [_number(scores.get(f"{split}_{metric}")) for metric in AREAS.values()]
                rows.append([name, arm, "mean", *shares, *areas])
    return Table(
        f"Each finding on {split}",
        ["Scenario", "Arm", "Finding", "Recall (%)", "Precision (%)", *AREAS],
        rows,
        "A finding counts as predicted if its probability is above 0.5. If it is never predicted, its precision is 0 "
        "in the mean.",
        names=3,
    )


def _selected(result: Result, arm: str) -> Row:
    scores: Scores = result.scores[arm]
    return {
        "Accuracy, test (%)": _percent(scores["selected_test_accuracy"]),
        "Loss, test": _number(scores["selected_test_loss"]),
    }


def _accuracy(right: NDArray[np.bool_]) -> str:
    return _share(share_of_images(right))


def _share(found: Interval) -> str:
    return show(found, scale=100, digits=1)


def _with_verdict(difference: Interval, *, scale: float, digits: int) -> str:
    none = f", {verdict(difference)}" if difference.includes_zero() else ""
    return show(difference, scale=scale, digits=digits, sign=True) + none


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
