"""The experiment's page in MLflow: its note, and two views with columns and charts already chosen.

MLflow has no setting for the first view of a page. Its "Share" button stores a view in a tag of the experiment, and
an address can name this tag. The note links to two such views.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROOM = 5000  # characters in a tag of an experiment: MLflow's limit
LEFT_OUT = "\n\nThis note has no room for the rest, which is in `report/index.html`.\n"
COLUMNS = (
    *("tags.`scenario`", "tags.`arm`", "params.`seed`"),
    *(f"metrics.`final/{name}`" for name in ("test_accuracy", "test_loss", "test-shifted_accuracy")),
    *(f"metrics.`final/{name}`" for name in ("min_loss", "selected_test_accuracy", "selected_test_loss")),
)
CURVES = tuple(f"{split}_{metric}" for metric in ("accuracy", "loss") for split in ("val", "test", "test-shifted"))
CHOSEN = {"deleted": False, "isGenerated": False, "isReordered": True}
SIZES = {"curves": {"columns": 3, "cardHeight": 320}, "pictures": {"columns": 2, "cardHeight": 400}}
UNSMOOTHED = {"xAxisKey": "step", "lineSmoothness": 0}
PICTURE = {"step": 0, "showRunParams": False}
PICTURES = ("queries", "explanations")


def set_page(client: MlflowClient, experiment: str, note: list[str]) -> None:
    """Set the views and the note.

    The note links to the views. If it has no room for all parts, it has the first ones and says that more exist.
    """
    shared = {
        "comparison": ("Every arm's curves and pictures", _state(group=False)),
        "over-seeds": ("the mean of every arm over seeds", _state(group=True)),
    }
    links = []
    for key, (title, state) in shared.items():
        client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(state))
        links.append(f"[{title}]({address(experiment, key)})")
    text = f"Views: {'; '.join(links)}. The whole comparison is in `report/index.html`.\n\n"
    client.set_experiment_tag(experiment, "mlflow.note.content", text + _fitting(note, ROOM - len(text)))


def address(experiment: str, key: str = "comparison") -> str:
    """Return the address of a view, below MLflow's own."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}&compareRunsMode=CHART"


def _fitting(parts: list[str], room: int) -> str:
    """Return all parts if they have room, or else the first ones and a sentence about the rest."""
    whole = "".join(parts)
    if len(whole) <= room:
        return whole
    text = ""
    for part in parts:
        if len(text) + len(part) > room - len(LEFT_OUT):
            break
        text += part
    return text + LEFT_OUT


def _state(group: bool) -> dict[str, Any]:
    """Return the state of MLflow's page of runs, in MLflow's own format."""
    keys = [{"mode": "tag", "groupByData": tag} for tag in ("scenario", "arm")]
    sections = {
        "curves": "Every epoch",
        "pictures": "Queries and explanations",
        "final": "final",  # this and the next are MLflow's sections for all other metrics: folded up
        "other": "Model metrics",
    }
    curves: list[dict[str, Any]] = [
        {"type": "LINE", "metricKey": name, "uuid": name, "metricSectionId": "curves", **UNSMOOTHED} for name in CURVES
    ]
    pictures: list[dict[str, Any]] = [
        {"type": "IMAGE", "imageKeys": [name], "uuid": name, "metricSectionId": "pictures", **PICTURE}
        for name in PICTURES
    ]
    return {
        "selectedColumns": COLUMNS,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if group else None,
        "compareRunCharts": [{**CHOSEN, **chart} for chart in [*curves, *pictures]],
        "compareRunSections": [
            {"uuid": key, "name": name, "display": key in SIZES, **SIZES.get(key, {}), **CHOSEN}
            for key, name in sections.items()
        ],
        "isAccordionReordered": True,
        "globalLineChartConfig": {**UNSMOOTHED, "selectedXAxisMetricKey": ""},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
    }
