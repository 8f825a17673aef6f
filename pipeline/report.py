"""The comparison of arms: the paper's Table 2 with test splits, and what it means in words."""

from __future__ import annotations

from collections.abc import Callable

Numbers = dict[str, float]  # metric → value
Metrics = dict[str, dict[str, Numbers]]  # scenario → arm → metric → value

WORTH_CORRECTING = 0.05  # a share of a smaller loss would be a share of noise


def table(metrics: Metrics, sizes: dict[str, str]) -> str:
    """Markdown: one row a scenario and arm. ``sizes`` holds "N, classes" of each scenario.

    The paper's Table 2 with what it leaves out; then what else the final networks are judged by.
    """
    rows = [(f"{name} ({sizes[name]})", arm, m) for name, by_arm in metrics.items() for arm, m in by_arm.items()]
    main = {
        "Accuracy, val": lambda m: _percent(m["val_accuracy"]),
        "Min loss, val": lambda m: _number(m["min_loss"]),
        "Accuracy, test": lambda m: _percent(m["test_accuracy"]),
        "Loss, test": lambda m: _number(m["test_loss"]),
        "Selected: accuracy, test": lambda m: _percent(m["selected_test_accuracy"]),
        "Selected: loss, test": lambda m: _number(m["selected_test_loss"]),
        "Accuracy, test-shifted": lambda m: _percent(m.get("test-shifted_accuracy")),
    }
    more = {
        "Balanced accuracy": lambda m: _percent(m.get("test_balanced_accuracy")),
        "AUC": lambda m: _number(m.get("test_auc")),
        "Kappa": lambda m: _number(m.get("test_kappa")),
        "Calibration error": lambda m: _number(m.get("test_ece")),
        "Worst class's recall": lambda m: _percent(_worst_recall(m)),
        "Worst group's accuracy": lambda m: _percent(m.get("test_worst_group_accuracy")),
    }
    return "\n".join(
        [
            *_markdown(rows, main),
            "",
            "Accuracies and losses are those of the final network of an arm, those under *selected* of the epoch with "
            "the lowest loss on val. The minimum loss is the lowest of the arm's epochs on val, as in the paper.",
            "",
            "What else the final networks are judged by, on test:",
            "",
            *_markdown(rows, more),
            "",
        ]
    )


def _markdown(rows: list[tuple[str, str, Numbers]], columns: dict[str, Callable[[Numbers], str]]) -> list[str]:
    """A table of the columns in which any row has something to say."""
    cells = {title: [show(m) for _, _, m in rows] for title, show in columns.items()}
    titles = [title for title in columns if any(cells[title])]
    lines = [f"| Scenario (N, classes) | Arm | {' | '.join(titles)} |", f"|---|---|{'---:|' * len(titles)}"]
    for i, (scenario, arm, _) in enumerate(rows):
        lines.append(f"| {' | '.join([scenario, arm, *(cells[title][i] for title in titles)])} |")
    return lines


def _worst_recall(m: Numbers) -> float | None:
    return min((value for name, value in m.items() if name.startswith("test_recall_")), default=None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def meaning(scenario: str, by_arm: dict[str, dict[str, float]], answers: int) -> str:
    """What the scenario's rows say, in two sentences."""
    hitl, placebo = by_arm["hitl"], by_arm.get("random-mask")
    automated = by_arm["automated"]
    if "test-shifted_accuracy" in automated:
        lost = _lost(automated)
        first = (
            f"{scenario}: without feedback the network loses {100 * lost:.1f} points of accuracy where its "
            f"shortcut misleads; with {answers} answers from experts it loses {100 * _lost(hitl):.1f}"
        )
        if lost < WORTH_CORRECTING:
            return f"{first}. That is too small a shortcut to be corrected, so this says nothing about feedback."
        closed = f", which closes {_closed(lost, hitl)} of that loss."
        if placebo is None:
            return first + closed
        clear = _lost(placebo) - _lost(hitl) >= lost / 4
        where = "most of the gain came" if clear else "no clear difference came"
        return (
            f"{first}{closed} Masks of the same size placed at random close {_closed(lost, placebo)}: "
            f"{where} from where the experts pointed, as far as one seed can tell."
        )
    accuracy = 100 * (hitl["test_accuracy"] - automated["test_accuracy"])
    loss = hitl["test_loss"] - automated["test_loss"]
    first = (
        f"{scenario}: with {answers} answers from experts, test accuracy changes by {accuracy:+.1f} points and "
        f"test loss by {loss:+.3f} against training without feedback."
    )
    if placebo is None:
        return first
    other = 100 * (placebo["test_accuracy"] - automated["test_accuracy"])
    return (
        f"{first} Masks of the same size placed at random change them by {other:+.1f} points and "
        f"{placebo['test_loss'] - automated['test_loss']:+.3f}; one seed cannot tell a gain from luck."
    )


def _lost(m: dict[str, float]) -> float:
    return m["test_accuracy"] - m["test-shifted_accuracy"]


def _closed(lost: float, arm: dict[str, float]) -> str:
    return f"{(lost - _lost(arm)) / lost:.0%}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
