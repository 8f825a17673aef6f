"""An arm's run in MLflow: settings, epochs, pictures and summaries, brought up to date with the files."""

from __future__ import annotations

import getpass
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import PAGE, asked_file, curves_file, explanations_file
from pipeline.report import provenance

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

KEY, HISTORY, PICTURES = (f"lookaway.{name}" for name in ("key", "history", "pictures"))

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")  # as in report/curves


def run_id(
    client: MlflowClient, experiment: str, config: Config, scenario: str, arm: str, history: pd.DataFrame
) -> str:
    """The arm's run with exactly this history: appended to what is there, or, if that differs, anew."""
    params = _params(config, scenario, arm)
    key = _digest(json.dumps([scenario, arm, params], sort_keys=True))
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'")
    run = found[0] if found else None
    rows = [_digest(row.to_json()) for _, row in history.iterrows()]
    logged: list[str] = json.loads(run.data.tags.get(HISTORY, "[]")) if run else []
    if run and logged != rows[: len(logged)]:
        client.delete_run(run.info.run_id)
        run, logged = None, []
    run = run or _new_run(client, experiment, config, scenario, arm, key, params)
    _log_epochs(client, run, history.iloc[len(logged) :])
    client.set_tag(run.info.run_id, HISTORY, json.dumps(rows))
    return str(run.info.run_id)


def _new_run(
    client: MlflowClient,
    experiment: str,
    config: Config,
    scenario: str,
    arm: str,
    key: str,
    params: dict[str, Any],
) -> Run:
    from mlflow.entities import Param

    tags = {
        KEY: key,
        "mlflow.runColor": COLOURS[results.arms(config, scenario).index(arm) % len(COLOURS)],
        "scenario": scenario,
        "arm": arm,
        "data.sha256": provenance.data(config.scenario(scenario).dataset),
        "mlflow.source.git.commit": provenance.commit(),
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "PROJECT",
        "mlflow.user": getpass.getuser(),
    }
    run = client.create_run(experiment, run_name=f"{arm}, {scenario}, seed {config.seed}", tags=tags)
    client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in params.items()])
    return run


def _log_epochs(client: MlflowClient, run: Run, rows: pd.DataFrame) -> None:
    from mlflow.entities import Metric

    metrics = []
    for row in rows.to_dict("records"):
        # No clock: the same (key, value, step, timestamp) again is the same point to MLflow.
        at = run.info.start_time + 1000 * row["epoch"]
        metrics += [
            Metric(str(name), float(value), at, row["epoch"])
            for name, value in row.items()
            if name not in ("step", "epoch")
        ]
    for start in range(0, len(metrics), 1000):  # MLflow's limit for one request
        client.log_batch(run.info.run_id, metrics=metrics[start : start + 1000])


def log_queries(client: MlflowClient, run_id: str, scenario: str, rounds: list[str]) -> None:
    """Each round's queries, proposals and marks as one picture, the round as its step."""
    for n in rounds:
        _log_picture(client, run_id, "queries", n, asked_file(scenario, n))


def log_evaluation(client: MlflowClient, run_id: str, scenario: str, arm: str, summary: dict[str, float]) -> None:
    """Summaries under names of their own: MLflow's tables show a metric's last value only."""
    from mlflow.entities import Metric

    start = client.get_run(run_id).info.start_time
    metrics = [Metric(f"final/{name}", value, start, 0) for name, value in summary.items()]
    client.log_batch(run_id, metrics=metrics)
    client.log_artifact(run_id, str(curves_file(scenario)), "curves")
    if arm == "hitl":  # once: both show all arms
        client.log_artifact(run_id, str(PAGE))
        _log_picture(client, run_id, "explanations", "00", explanations_file(scenario))


def _log_picture(client: MlflowClient, run_id: str, name: str, step: str, path: Path) -> None:
    """Log a picture twice, with a step slider and in full size, unless it is there."""
    from PIL import Image

    place, content = f"{name}/{step}.png", hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    logged = json.loads(client.get_run(run_id).data.tags.get(PICTURES, "{}"))
    if logged.get(place) != content:
        picture = Image.open(path)
        client.log_image(run_id, picture, key=name, step=int(step), synchronous=True)
        client.log_image(run_id, picture, artifact_file=place)
        client.set_tag(run_id, PICTURES, json.dumps(logged | {place: content}))


def _params(config: Config, scenario: str, arm: str) -> dict[str, Any]:
    """What tells one run from another, flat: everything that can change an arm's result."""
    settings = config.scenario(scenario).model_dump()
    data = config.datasets[settings["dataset"]].model_dump(exclude={"root"})  # where it lies changes nothing
    kept = {"scenario": scenario, "arm": arm, "seed": config.seed, **settings, "data": data}
    if arm in ("baseline", "automated"):
        del kept["penalty"], kept["query"]
    if arm != "baseline":
        kept["rounds"] = " ".join(f"{r.queries}q{r.epochs}e" for r in config.hitl.rounds)
    if arm not in ("baseline", "automated"):
        kept["annotate"] = config.annotate.model_dump()
        kept["consensus"] = config.consensus.model_dump()
    return dict(_flat(kept))


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
