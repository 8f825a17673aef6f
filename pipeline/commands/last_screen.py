"""The last screen of `lookaway demo` and `lookaway paper`: the result in a sentence and a table, and where to look."""

from __future__ import annotations

import json
import os

from pipeline.config import Config
from pipeline.paths import PAGE, REPORT
from pipeline.tracking import store, view

COLUMNS = {"test_accuracy": "accuracy", "test-shifted_accuracy": "misled", "min_loss": "minimum loss"}


def show(config: Config) -> None:
    """Print it, from the files of `compare`."""
    metrics = json.loads((REPORT / "metrics.json").read_text(encoding="utf-8"))
    report = (REPORT / "table.md").read_text(encoding="utf-8")
    print()
    for scenario in config.hitl.scenarios:
        print(_meaning(report, scenario))
        print(_table(metrics[scenario]))
    if any("test-shifted_accuracy" in arm for scenario in metrics.values() for arm in scenario.values()):
        print("misled: the accuracy on test-shifted, where the shortcut misleads\n")
    print(f"Report        {PAGE}")
    print(f"MLflow        {_mlflow()}")
    print("Label Studio  lookaway server start   (then `… login`, and `… stop`)")
    if config.annotate.expert == "simulated":
        print("Next          make demo EXPERT=human   (you are the expert)")
    else:
        print("Next          edit params.yaml, then `dvc repro` and `dvc metrics diff`")


def _meaning(report: str, scenario: str) -> str:
    """Return the sentence about a scenario; without a shortcut to correct, the differences between the arms follow."""
    _, _, text = f"\n{report}".partition(f"\n{scenario}: ")
    first, *differences = [line for line in text.partition("\n\n\n")[0].partition("**")[0].splitlines() if line]
    if first.endswith("On test-shifted:"):
        return f"{scenario}: {first.removesuffix(' On test-shifted:')}\n"
    return "\n".join([f"{scenario}: {first}", *(line for line in differences if line.startswith("- ")), ""])


def _table(arms: dict[str, dict[str, float]]) -> str:
    """Return a row for each arm, with the metrics that it has."""
    shown = [name for name in COLUMNS if any(name in scores for scores in arms.values())]
    rows = [["", *(COLUMNS[name] for name in shown)]]
    rows += [[arm, *(_number(name, scores.get(name)) for name in shown)] for arm, scores in arms.items()]
    width = max(len(row[0]) for row in rows)
    return "\n".join([*(f"  {row[0]:<{width}}" + "".join(f"{cell:>14}" for cell in row[1:]) for row in rows), ""])


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if name.endswith("accuracy") else f"{value:.3f}"


def _mlflow() -> str:
    """Return the address of the comparison, with the command that serves it if MLflow is a file of the checkout."""
    server = os.environ.get(store.URI, "")
    if server.startswith("http"):
        return f"{server.rstrip('/')}, experiment {store.name()}"
    uri = server or f"{store.SQLITE}{store.DATABASE}"
    return f"mlflow ui --backend-store-uri {uri}\n              http://127.0.0.1:5000/{view.address('1')}"
