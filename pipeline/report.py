"""The comparison of arms: the paper's Table 2 with test splits, and what it means in words."""

from __future__ import annotations

from typing import Any

Metrics = dict[str, dict[str, dict[str, float]]]  # scenario → arm → metric → value

WORTH_CORRECTING = 0.05  # a share of a smaller loss would be a share of noise


def table(metrics: Metrics, sizes: dict[str, str]) -> str:
    """Markdown: one row a scenario and arm. ``sizes`` holds "N, classes" of each scenario."""
    lines = [
        "| Scenario (N, classes) | Arm | Accuracy, val | Min loss, val | Accuracy, test | Loss, test | "
        "Accuracy, test-shifted |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for scenario, by_arm in metrics.items():
        for arm, m in by_arm.items():
            cells = [
                f"{scenario} ({sizes[scenario]})",
                arm,
                _percent(m["val_accuracy"]),
                f"{m['min_loss']:.2f}",
                _percent(m["test_accuracy"]),
                f"{m['test_loss']:.2f}",
                _percent(m.get("test-shifted_accuracy")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Accuracies and the test loss are those of the final network of an arm: no epoch was selected. "
        "The minimum loss is the lowest of the arm's epochs on the validation split, as in the paper.",
    ]
    return "\n".join(lines) + "\n"


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


def _percent(value: Any) -> str:
    return "" if value is None else f"{100 * value:.1f}"
