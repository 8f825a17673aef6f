"""The comparison in tables and in words, worked out from the numbers."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.arms import results
from pipeline.evaluation.groups import Group
from pipeline.evaluation.predictions import Outcomes
from pipeline.evaluation.statistics import share_of_images, show
from pipeline.report import meaning, table, tables
from pipeline.report.comparison import Result


def history(shifted, loss=0.1):
    rows = [("start", 1, 0.9, 0.8), ("00", 2, loss, 0.7), ("00", 3, loss + 0.1, shifted)]
    columns = ["step", "epoch", "val_loss", "test-shifted_accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(val_accuracy=0.9, test_accuracy=0.9, test_loss=[0.5, 0.3, 0.4])


def outcomes(right, of=100, loss=0.4):
    """A network that is right on the first so many images of a split."""
    return Outcomes(np.arange(of) < right, np.linspace(loss - 0.1, loss + 0.1, of))


def result(shifted):
    """A scenario's result; ``shifted``: the number of right answers of each arm, of 100, on test-shifted."""
    return Result(
        images=260,
        classes=10,
        answers=80,
        scores={arm: results.summary(history(count / 100), arm) for arm, count in shifted.items()},
        outcomes={
            arm: {"val": outcomes(90), "test": outcomes(90), "test-shifted": outcomes(count)}
            for arm, count in shifted.items()
        },
    )


def test_the_meaning_is_worked_out_from_the_numbers():
    found = result({"automated": 50, "random-mask": 60, "hitl": 80})
    first, automated, placebo = meaning.sentences("digits", found)
    assert "(automated), the network loses 40.0 points of accuracy between test and test-shifted" in first
    assert "With 80 answers from experts (hitl), it loses 10.0 points: 75% of the harm is undone." in first
    assert "The placebo random-mask undoes 25%." in first
    assert automated.startswith("hitl against automated: accuracy +30.0 [+2")
    assert "points (higher, McNemar p < 0.001), loss 0.00 [0.00, 0.00], no difference shown" in automated
    assert placebo.startswith("hitl against random-mask: accuracy +20.0 [")
    *_, placebo = meaning.sentences("digits", result({"automated": 50, "random-mask": 79, "hitl": 80}))
    assert "(no difference shown, McNemar p 1.000)" in placebo
    (only,) = meaning.sentences("digits", result({"automated": 90, "hitl": 85}))
    assert "too small to correct" in only


def group(value, right, of, of_b):
    """A group in which the first ``right`` images are right, and the last ``of_b`` are of class b."""
    answers = np.arange(of) < right
    return Group(value, answers, {"a": answers[:-of_b], "b": answers[-of_b:]})


def test_groups_have_rows_for_each_arm_and_the_lowest_has_its_name():
    right = {"automated": 15, "hitl": 30}
    found = replace(
        result({"automated": 50, "hitl": 80}),
        groups={
            arm: {"device": {"val": [], "test": [group("A", 45, 50, 20), group("B", n, 40, 9), group("C", 0, 5, 2)]}}
            for arm, n in right.items()
        },
    )
    lowest, every = (t for t in tables.tables({"x": found, "y": result({"automated": 50})}) if "device" in t.title)
    assert lowest.title == "Lowest group by device"
    assert lowest.note.endswith(" No image has a value of device in x: test-shifted.")
    assert lowest.heads[2:] == ["Lowest accuracy, test (%)", "Lowest recall, test (%)"]
    assert [row[:2] for row in lowest.rows] == [["x (260, 10)", "automated"], ["x (260, 10)", "hitl"]]
    assert [re.sub(r" \[.*\]", "", row[2]) for row in lowest.rows] == ["37.5, device B", "75.0, device B"]
    assert [re.sub(r" \[.*\]", "", row[3]) for row in lowest.rows] == ["48.4, a, device B", "75.0, b, device A"]
    assert every.title == "x: groups by device, test"
    assert every.heads == ["device", "Arm", "Images", "Accuracy (%)", "Recall, a (%)", "Recall, b (%)"]
    assert [row[:3] for row in every.rows[2:]] == [
        ["B", "automated", "40"], ["B", "hitl", "40"], ["C", "automated", "5, few"], ["C", "hitl", "5, few"],
    ]  # fmt: skip
    assert every.rows[2][3].startswith("37.5 [")
    assert every.rows[2][5].startswith("0.0 [")
    assert every.rows[2][5].endswith("], few")
    assert not [t for t in tables.tables({"y": result({"automated": 50})}) if "device" in t.title]


def test_without_a_shifted_split_the_meaning_compares_accuracy_and_loss():
    found = result({"automated": 50, "hitl": 50})
    for by_split in found.outcomes.values():
        del by_split["test-shifted"]
    found.outcomes["hitl"]["test"] = outcomes(88, loss=0.3)
    first, against = meaning.sentences("isic", found)
    assert first == "isic: with 80 answers from experts, on the test images:"
    assert "accuracy -2.0 [" in against
    assert "loss -0.10 [-0.10, -0.10], lower" in against
    assert meaning.markdown([first, against]) == f"{first}\n\n- {against}\n\n"


def test_the_tables_have_a_row_an_arm_and_intervals():
    found = result({"automated": 50, "hitl": 80})
    for numbers in found.scores.values():
        numbers.update({"test_balanced_accuracy": 0.85, "test_recall_a": 0.9, "test_recall_b": 0.75})
    shown = tables.tables({"digits": found})
    text = "".join(map(table.markdown, shown))
    wilson = "90.0 [82.6, 94.5]"
    assert f"| digits (260, 10) | hitl | {wilson} | 0.10 | {wilson} | 0.40 [0.39, 0.41] | 80.0 [" in text
    same = "0.0 [0.0, 0.0], no difference shown | 1.000 | 0.00 [0.00, 0.00], no difference shown"
    assert f"| digits (260, 10) | hitl | {same} | +30.0 [" in text
    assert "| Balanced accuracy (%) | Worst class's recall (%) |\n" in text  # no column without a value
    assert "| digits (260, 10) | hitl | 85.0 | 75.0 |" in text
    assert "| digits (260, 10) | hitl | 90.0 | 0.30 |" in text, "the epoch with the lowest loss on val"
    assert "They do not cover training" in text
    assert all(len(table.heads) - table.names <= 6 for table in shown), "a reader compares six columns at most"
    assert [len(table.rows) for table in shown] == [2, 1, 2, 2], "automated is not compared with itself"


def test_a_split_that_only_one_scenario_has_leaves_empty_cells():
    plain = result({"automated": 50, "hitl": 50})
    for by_split in plain.outcomes.values():
        del by_split["test-shifted"]
    every = tables.tables({"isic": plain, "digits": result({"automated": 50, "hitl": 80})})[0]
    assert [row[-2:] for row in every.rows[:2]] == [["", ""]] * 2
    assert all("" not in row for row in every.rows[2:])


@pytest.mark.parametrize(("ours", "shown"), [(60, "0.002"), (90, "< 0.001"), (50, "1.000")])
def test_p_has_three_digits(ours, shown):
    assert tables.rounded_p(outcomes(ours), outcomes(50)) == shown


def test_an_external_set_has_tables_of_its_own_with_intervals_and_differences():
    found = result({"automated": 50, "hitl": 80})
    for arm, count in (("automated", 30), ("hitl", 60)):
        found.outcomes[arm]["external-ph2"] = outcomes(count)
        found.scores[arm] |= {"external-ph2_auc": 0.71, "external-ph2_recall_a": 0.4, "external-ph2_recall_b": 0.8}
    shown = {table.title: table for table in tables.tables({"digits": found, "other": result({"automated": 50})})}
    every = shown["The external test set ph2"]
    assert every.heads[2:] == [
        "Accuracy (%)", "Loss", "Accuracy minus automated (points)", "McNemar p", "Loss minus automated"
    ]  # fmt: skip
    assert [row[1:3] for row in every.rows] == [["automated", "30.0 [21.9, 39.6]"], ["hitl", "60.0 [50.2, 69.1]"]]
    assert every.rows[0][4:] == [""] * 3
    assert every.rows[1][4].startswith("+30.0 [")
    other = shown["Other scores on the external test set ph2"]
    assert other.heads[2:] == ["AUC", "Worst class's recall (%)"]
    assert [row[1:] for row in other.rows] == [["automated", "0.71", "40.0"], ["hitl", "0.71", "40.0"]]
    assert all(len(table.heads) - table.names <= 6 for table in shown.values())
    assert not [head for table in [*shown.values()][:2] for head in table.heads if "external" in head]
    *_, last = meaning.sentences("digits", found)
    assert last.startswith("On external-ph2, hitl against automated: accuracy +30.0 [")


def of_findings():
    """A result of two findings: of 100 images, 40 have the disk, and 30 of these are predicted; the bar never is."""
    found, n = result({"automated": 50, "hitl": 80}), np.arange(100)
    read = {"recall": 0.375, "precision": 0.5, "auc": 0.75, "average_precision": 0.4}
    scores = {f"test_{metric}{end}": value for metric, value in read.items() for end in ("", "_disk", "_bar")}
    findings = {"disk": (n < 40, n < 30), "bar": (n < 20, n < 0)}
    return replace(
        found,
        scores={arm: one | scores for arm, one in found.scores.items()},
        outcomes={
            arm: {split: replace(one, findings=findings) for split, one in of.items()}
            for arm, of in found.outcomes.items()
        },
    )


def test_each_finding_has_a_row_and_scenarios_with_classes_have_none():
    both = tables.tables({"digits": result({"automated": 50, "hitl": 80}), "shapes": of_findings()})
    (table,) = [one for one in both if one.title == "Each finding on test"]
    assert table.heads == ["Scenario", "Arm", "Finding", "Recall (%)", "Precision (%)", "AUC", "Average precision"]
    assert [row[:3] for row in table.rows] == [
        ["shapes", arm, finding] for arm in ("automated", "hitl") for finding in ("disk", "bar", "mean")
    ]
    assert [cell.split(" [")[0] for cell in table.rows[0][3:]] == ["75.0", "100.0", "0.75", "0.40"]
    assert table.rows[0][3] == show(share_of_images(np.arange(40) < 30), scale=100, digits=1), "with its interval"
    assert table.rows[1][4] == "", "no precision without predictions"
    assert table.rows[2][3:] == ["37.5", "50.0", "0.75", "0.40"]
    assert "all of its findings" in both[0].note
    classes = tables.tables({"digits": result({"automated": 50, "hitl": 80})})
    assert not any("finding" in one.title for one in classes)
    assert "findings" not in classes[0].note
