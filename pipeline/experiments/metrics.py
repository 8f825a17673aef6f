"""The metrics of the experiments, each a function of an arm's numbers and the numbers of `automated`."""

from __future__ import annotations

from pipeline.experiments.experiment import Metric, number, percent


def _harm_undone(name: str) -> Metric:
    """Return the metric: how much of the harm that `automated` suffers between test and test-shifted an arm avoids."""

    def undone(arm: dict[str, float], automated: dict[str, float]) -> float:
        harm, own = (m[f"test_{name}"] - m[f"test-shifted_{name}"] for m in (automated, arm))
        return 1 - own / harm

    return Metric("Harm undone, %", undone, 100, 0)


def _worst_recall(arm: dict[str, float], _: dict[str, float]) -> float:
    return min(value for name, value in arm.items() if name.startswith("test-shifted_recall_"))


HARM = _harm_undone("accuracy")
SHORTCUT = (
    percent("Accuracy, test", "test_accuracy", by_epoch="test_accuracy"),
    percent("Accuracy, test-shifted", "test-shifted_accuracy", by_epoch="test-shifted_accuracy"),
    number("Loss, test-shifted", "test-shifted_loss", by_epoch="test-shifted_loss", digits=2),
    HARM,
)
MNIST = (
    percent("Accuracy, test", "test_accuracy"),
    percent("Accuracy, test-shifted", "test-shifted_accuracy"),
    Metric("Worst class, test-shifted", _worst_recall, 100, 1),
)
PATCHES = (
    number("Loss, test", "test_loss", by_epoch="test_loss"),
    number("Loss with patches", "test-shifted_loss", by_epoch="test-shifted_loss"),
    _harm_undone("loss"),
    number("AUC, test", "test_auc"),
    number("AUC with patches", "test-shifted_auc"),
    percent("Accuracy, test", "test_accuracy", by_epoch="test_accuracy"),
    percent("Accuracy with patches", "test-shifted_accuracy", by_epoch="test-shifted_accuracy"),
)
AUC = number("AUC, test", "selected_test_auc")
PAPER = (
    number("Min loss, test", "min_test_loss"),
    number("Loss, test, selected on val", "selected_test_loss", by_epoch="test_loss"),
    percent("Accuracy, test", "selected_test_accuracy", by_epoch="test_accuracy"),
    AUC,
)
TABLE_2 = (
    percent("Accuracy, val", "val_accuracy", by_epoch="val_accuracy"),
    number("Min loss, val", "min_loss", by_epoch="val_loss"),
    percent("Accuracy, test", "selected_test_accuracy"),
    AUC,
)


def _gap(arm: dict[str, float], _: dict[str, float]) -> float:
    """Return how much less accurate the combinations are that go against the ruler than the ones that go with it."""
    with_it = arm["test_accuracy_no-ruler_benign"] + arm["test_accuracy_ruler_melanoma"]
    return (with_it - arm["test_accuracy_no-ruler_melanoma"] - arm["test_accuracy_ruler_benign"]) / 2


RULER = (
    percent("Accuracy, worst group", "test_worst_ruler_accuracy", key="worst_group"),
    Metric("Gap, points", _gap, 100, 1, key="gap"),
    number("AUC, groups balanced", "test_balanced_ruler_auc", key="auc"),
    *(
        percent(f"{label.capitalize()}, {value}", f"test_accuracy_{value.replace(' ', '-')}_{label}")
        for label in ("benign", "melanoma")
        for value in ("no ruler", "ruler")
    ),
)
GESTURES = (
    number("Clicks and keys, first round", "gestures_first_round", digits=1, key="gestures_first_round"),
    number("Clicks and keys, next rounds", "gestures_next_rounds", digits=1, key="gestures_next_rounds"),
)


def _recall_back(arm: dict[str, float], automated: dict[str, float]) -> float:
    """Return the share of the recall that `automated` loses to patches and that an arm has in their presence."""
    lost = automated["test_recall_melanoma"] - automated["test-shifted_recall_melanoma"]
    return (arm["test-shifted_recall_melanoma"] - automated["test-shifted_recall_melanoma"]) / lost


NATURAL = (
    Metric("Lost recall brought back, %", _recall_back, 100, 0, key="recall_undone"),
    percent("Recall with patches", "test-shifted_recall_melanoma", key="recall_shifted"),
    percent("Recall, test", "test_recall_melanoma", key="recall"),
    number("AUC, test", "test_auc", key="auc_test"),
    number("AUC with patches", "test-shifted_auc", key="auc_shifted"),
    percent("Accuracy, test", "test_accuracy"),
)
TRAP = (
    number("AUC, test", "test_auc", key="auc_test"),
    number("AUC, val", "val_auc", key="auc_val"),
    percent("Recall, test", "test_recall_melanoma", key="recall"),
    percent("Accuracy, test", "test_accuracy"),
)
PLAIN = (
    number("AUC, test", "test_auc", key="auc_test"),
    percent("Accuracy, test", "test_accuracy", key="accuracy"),
    number("Loss, test", "test_loss", key="loss"),
)
