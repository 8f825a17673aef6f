"""The comparison of arms: the paper's Table 2 with test splits and intervals, and what it means in words."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.predictions import ByArm, Outcomes
from pipeline.evaluation.statistics import Interval, mcnemar, mean_over_images, share_of_images, show, verdict

Numbers = dict[str, float]  # metric → value

WORTH_CORRECTING = 0.05  # a share of a smaller loss would be a share of noise
CAVEAT = (
    "Intervals are 95%. They cover the luck of the test images, not that of training: this is one seed, and another "
    "may come out otherwise."
)


@dataclass(frozen=True)
class Result:
    """What a scenario came to: ``size`` is "N, classes"; ``answers`` those that experts gave."""

    size: str
    answers: int
    numbers: dict[str, Numbers]  # by arm
    outcomes: ByArm


@dataclass(frozen=True)
class Table:
    """A table to be read: what it says above its rows and below; cells are text, after ``names`` columns numbers."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""
    names: int = 2


def tables(results: dict[str, Result]) -> list[Table]:
    """The paper's Table 2 with what it leaves out, the differences to `automated`, and what else there is.

    One row a scenario and arm; only the columns in which any row has something to say.
    """
    arms = [(name, arm) for name, result in results.items() for arm in result.numbers]
    return [
        _table(
            "Every arm",
            results,
            {(name, arm): _own(results[name].numbers[arm], results[name].outcomes[arm]) for name, arm in arms},
            "Accuracies (%) and losses are those of the final network of an arm, those under *selected* of the epoch "
            "with the lowest loss on val. The minimum loss is the lowest of the arm's epochs on val, as in the paper.",
        ),
        _table(
            "Against automated, on the same images",
            results,
            {
                (name, arm): _against(results[name].outcomes[arm], results[name].outcomes["automated"])
                for name, arm in arms
                if arm != "automated"
            },
            f"Points of accuracy, and loss, of the final networks. {CAVEAT}",
        ),
        _table(
            "What else the final networks are judged by, on test",
            results,
            {(name, arm): _more(results[name].numbers[arm]) for name, arm in arms},
            "",
        ),
    ]


def markdown(table: Table) -> str:
    """The table as Markdown, an empty line after it."""
    rule = ["---"] * table.names + ["---:"] * (len(table.heads) - table.names)
    rows = [f"| {' | '.join(row)} |" for row in (table.heads, rule, *table.rows)]
    parts = [f"**{table.title}**", "\n".join(rows), *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n\n"


def meaning(name: str, result: Result) -> list[str]:
    """What a scenario's rows say: a sentence, then how `hitl` stands against each arm that trained as long."""
    numbers, outcomes = result.numbers, result.outcomes
    others = [arm for arm in numbers if arm not in ("baseline", "hitl")]
    split = "test-shifted" if "test-shifted" in outcomes["automated"] else "test"
    against = [f"hitl against {arm}: {_difference(outcomes['hitl'][split], outcomes[arm][split])}." for arm in others]
    answers = f"with {result.answers} answers from experts"
    if split == "test":
        return [f"{name}: {answers}, on the test images:", *against]
    lost = {arm: numbers[arm]["test_accuracy"] - numbers[arm]["test-shifted_accuracy"] for arm in numbers}
    first = (
        f"{name}: without feedback the network loses {100 * lost['automated']:.1f} points of accuracy where its "
        f"shortcut misleads; {answers} it loses {100 * lost['hitl']:.1f}"
    )
    if lost["automated"] < WORTH_CORRECTING:
        return [f"{first}. That is too small a shortcut to be corrected, so this says nothing about feedback."]
    closed = {arm: f"{1 - lost[arm] / lost['automated']:.0%}" for arm in numbers}
    placebos = "".join(f"; {arm} closes {closed[arm]}" for arm in others if arm != "automated")
    return [f"{first}, which closes {closed['hitl']} of that gap{placebos}. On test-shifted:", *against]


def _table(title: str, results: dict[str, Result], rows: dict[tuple[str, str], dict[str, str]], note: str) -> Table:
    possible = dict.fromkeys(head for row in rows.values() for head in row)
    heads = [head for head in possible if any(row.get(head) for row in rows.values())]
    body = [
        [f"{name} ({results[name].size})", arm, *(row.get(head, "") for head in heads)]
        for (name, arm), row in rows.items()
    ]
    return Table(title, ["Scenario (N, classes)", "Arm", *heads], body, note)


def _own(numbers: Numbers, outcomes: dict[str, Outcomes]) -> dict[str, str]:
    """Columns of an arm by itself, with the intervals of what is known image by image."""
    accuracy = {split: show(share_of_images(found.right), 100, 1) for split, found in outcomes.items()}
    loss = {split: show(mean_over_images(found.loss)) for split, found in outcomes.items()}
    return {
        "Accuracy, val": accuracy["val"],
        "Min loss, val": _number(numbers["min_loss"]),
        "Accuracy, test": accuracy["test"],
        "Loss, test": loss["test"],
        "Selected: accuracy, test": _percent(numbers["selected_test_accuracy"]),
        "Selected: loss, test": _number(numbers["selected_test_loss"]),
        "Accuracy, test-shifted": accuracy.get("test-shifted", ""),
        "Loss, test-shifted": loss.get("test-shifted", ""),
    }


def _against(ours: dict[str, Outcomes], theirs: dict[str, Outcomes]) -> dict[str, str]:
    """Columns of an arm beside another, on the same images."""
    columns = {}
    for split in ("test", "test-shifted"):
        if split in ours:
            accuracy, loss = _paired(ours[split], theirs[split])
            columns[f"Accuracy, {split}"] = _told(accuracy, 100, 1)
            columns[f"McNemar p, {split}"] = _p(ours[split], theirs[split])
            columns[f"Loss, {split}"] = _told(loss, 1, 2)
    return columns


def _more(numbers: Numbers) -> dict[str, str]:
    worst = min((value for name, value in numbers.items() if name.startswith("test_recall_")), default=None)
    return {
        "Balanced accuracy": _percent(numbers.get("test_balanced_accuracy")),
        "AUC": _number(numbers.get("test_auc")),
        "Kappa": _number(numbers.get("test_kappa")),
        "Calibration error": _number(numbers.get("test_ece")),
        "Worst class's recall": _percent(worst),
        "Worst group's accuracy": _percent(numbers.get("test_worst_group_accuracy")),
    }


def _difference(ours: Outcomes, theirs: Outcomes) -> str:
    accuracy, loss = _paired(ours, theirs)
    return (
        f"accuracy {show(accuracy, 100, 1, sign=True)} points ({verdict(accuracy)}, McNemar p {_p(ours, theirs)}), "
        f"loss {show(loss, sign=True)}, {verdict(loss)}"  # a bracket after an interval makes it a link in Markdown
    )


def _paired(ours: Outcomes, theirs: Outcomes) -> tuple[Interval, Interval]:
    """The differences of accuracy and of loss."""
    accuracy = mean_over_images(ours.right.astype(float) - theirs.right)
    return accuracy, mean_over_images(ours.loss - theirs.loss)


def _told(difference: Interval, scale: float, digits: int) -> str:
    none = f", {verdict(difference)}" if difference.includes_zero() else ""
    return show(difference, scale, digits, sign=True) + none


def _p(ours: Outcomes, theirs: Outcomes) -> str:
    p = mcnemar(ours.right, theirs.right)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
