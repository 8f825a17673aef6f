"""The experiment's page in MLflow: its note, and two views of it with columns and charts already chosen.

MLflow's page cannot be told what to show at first, but it opens what its own "Share" button stores, a
tag of the experiment, when the address names it. The note links to these.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROOM = 5000  # characters, in one tag of an experiment
LEFT_OUT = "\n\nThere is no room for more here: the rest is in `report/index.html`.\n"
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
    """Set the views, and the note with links to them and as many of its parts as there is room for."""
    shared = {
        "comparison": ("Every arm's curves and pictures", _state(group=False)),
        "over-seeds": ("the same with each arm's mean over seeds", _state(group=True)),
    }
    links = []
    for key, (title, state) in shared.items():
        client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(state))
        links.append(f"[{title}](#/experiments/{experiment}/runs?viewStateShareKey={key}&compareRunsMode=CHART)")
    text = f"{', or '.join(links)}. `report/index.html` says all of it.\n\n"
    for part in note:
        if len(text) + len(part) > ROOM - len(LEFT_OUT):
            text += LEFT_OUT
            break
        text += part
    client.set_experiment_tag(experiment, "mlflow.note.content", text)


def _state(group: bool) -> dict[str, Any]:
    """The state of MLflow's runs page, in its own words."""
    keys = [{"mode": "tag", "groupByData": tag} for tag in ("scenario", "arm")]
    sections = {
        "curves": "Every epoch",
        "pictures": "Queries, and explanations",
        "final": "final",  # MLflow's own names, where it puts all other metrics: shown folded up
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
