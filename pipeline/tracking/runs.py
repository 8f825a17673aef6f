"""An arm's run in MLflow: its settings, epochs, pictures and summary, brought up to date with the files."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.arms import results
from pipeline.config import Config, fingerprint
from pipeline.paths import PAGE, asked_file, curves_file, explanations_file
from pipeline.report import provenance

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

KEY, HISTORY, PICTURES = (f"lookaway.{name}" for name in ("key", "history", "pictures"))
AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # metrics and params in a request: MLflow's limits
NAME, VALUE = 250, 6000  # characters in the name of a metric or param, and in a param's value: MLflow's limits
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")  # as in report/curves


def update(
    client: MlflowClient,
    *,
    experiment: str,
    config: Config,
    scenario: str,
    arm: str,
    history: pd.DataFrame,
    in_training: bool = False,
) -> str:
    """Log the epochs that the arm's run lacks, and return the run's id.

    A run whose epochs differ from the history is replaced. While the arm trains, a run with more epochs stays as it is:
    the arm may be training the same epochs once more.

    Args:
        client: MLflow.
        experiment: The experiment's id.
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name.
        history: The arm's history so far, a row an epoch.
        in_training: Whether more epochs follow at once.
    """
    name = key(config, scenario, arm)
    run = find(client, experiment, name)
    rows = [_digest(row.to_json()) for _, row in history.iterrows()]
    logged = _epochs_of(run) if run else 0
    if run and in_training and (logged or 0) > len(rows):
        return str(run.info.run_id)
    if run and (logged is None or run.data.tags.get(HISTORY, _epochs([])) not in _forms(rows[:logged])):
        client.delete_run(run.info.run_id)
        run, logged = None, 0
    run = run or _create(client, experiment=experiment, config=config, scenario=scenario, arm=arm, name=name)
    _log_params(client, run, params(config, scenario, arm))
    _log_epochs(client, run, history.iloc[logged:])
    client.set_tag(run.info.run_id, HISTORY, _epochs(rows))
    return str(run.info.run_id)


def _epochs(rows: list[str]) -> str:
    """Return a tag for these epochs: their number and a digest, since a tag has room for 8,000 characters only."""
    return f"{len(rows)} {_digest(' '.join(rows))}"


def _forms(rows: list[str]) -> tuple[str, str]:
    """Return the tags that stand for these epochs; earlier versions wrote the list."""
    return _epochs(rows), json.dumps(rows)


def _epochs_of(run: Run) -> int | None:
    """Return the number of epochs that the run has; None if an earlier version's list was cut off."""
    tag = run.data.tags.get(HISTORY, _epochs([]))
    try:
        return len(json.loads(tag)) if tag.startswith("[") else int(tag.split()[0])
    except ValueError:
        return None


def find(client: MlflowClient, experiment: str, name: str) -> Run | None:
    """Return the run with this key, if there is one."""
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{name}'")
    return found[0] if found else None


def log_queries(client: MlflowClient, run_id: str, *, scenario: str, rounds: list[str]) -> None:
    """Log a picture of the queries, proposals and marks of each round that `review` has drawn; a round is a step."""
    for n in rounds:
        if asked_file(scenario, n).exists():
            _log_picture(client, run_id, name="queries", step=n, path=asked_file(scenario, n))


def log_evaluation(
    client: MlflowClient, run_id: str, *, scenario: str, arm: str, summary: dict[str, float], screening: Path
) -> None:
    """Log the summary under names of its own, because MLflow's tables show only the last value of a metric.

    Args:
        client: MLflow.
        run_id: The arm's run.
        scenario: The scenario's name.
        arm: The arm's name.
        summary: The arm's summary; each name gets the prefix `final/`.
        screening: The page with the screening of the scenario's data set.
    """
    from mlflow.entities import Metric

    start = client.get_run(run_id).info.start_time
    metrics = [Metric(_fitting(f"final/{name}"), value, start, 0) for name, value in summary.items()]
    client.log_batch(run_id, metrics=metrics)
    client.log_artifact(run_id, str(curves_file(scenario)), "curves")
    if arm == "hitl":  # in one run only, because both files show all arms
        client.log_artifact(run_id, str(PAGE))
        client.log_artifact(run_id, str(screening), screening.parent.name)  # the page links to it
        _log_picture(client, run_id, name="explanations", step="00", path=explanations_file(scenario))


def key(config: Config, scenario: str, arm: str) -> str:
    """Return the key of an arm's run: a digest of every setting that can change the arm's result.

    Settings at their defaults are left out, so that a new setting with a default does not create new runs.
    """
    return fingerprint(_settings(config, scenario, arm, exclude_defaults=True))


def params(config: Config, scenario: str, arm: str) -> dict[str, Any]:
    """Return every setting that can change an arm's result, flat, with the defaults."""
    return dict(_flat(_settings(config, scenario, arm, exclude_defaults=False)))


def _settings(config: Config, scenario: str, arm: str, *, exclude_defaults: bool) -> dict[str, Any]:
    def dump(section: Any, exclude: set[str] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = section.model_dump(mode="json", exclude=exclude, exclude_defaults=exclude_defaults)
        return found

    feedback = arm not in results.WITHOUT_FEEDBACK
    settings = config.scenario(scenario)
    tested = {"external", "groups"}  # they train nothing
    found = {
        "scenario": scenario,
        "arm": arm,
        "seed": config.seed,
        **dump(settings, exclude=tested if feedback else {*tested, "penalty", "query"}),
        "data": dump(config.datasets[settings.dataset], exclude={"root"}),  # the folder changes no result
    }
    if arm != "baseline":
        found["rounds"] = " ".join(f"{entry.queries}q{entry.epochs}e" for entry in config.hitl.rounds)
    if feedback:
        found |= {"annotate": dump(config.annotate), "consensus": dump(config.consensus)}
    return found


def _create(client: MlflowClient, *, experiment: str, config: Config, scenario: str, arm: str, name: str) -> Run:
    tags = {
        KEY: name,
        "mlflow.runColor": COLOURS[results.arms(config, scenario).index(arm) % len(COLOURS)],
        "scenario": scenario,
        "arm": arm,
        "data.sha256": provenance.data(config.scenario(scenario).dataset),
        "mlflow.source.git.commit": provenance.commit(),
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "PROJECT",
        "mlflow.user": getpass.getuser(),
    }
    return client.create_run(experiment, run_name=f"{arm}, {scenario}, seed {config.seed}", tags=tags)


def _log_params(client: MlflowClient, run: Run, params: dict[str, Any]) -> None:
    """Log the settings that the run lacks: all for a new run, and otherwise the settings that a new version added."""
    from mlflow.entities import Param

    shown = {_fitting(name): _cut(str(value)) for name, value in params.items()}
    missing = [Param(name, value) for name, value in shown.items() if name not in run.data.params]
    for start in range(0, len(missing), PARAMS_AT_ONCE):
        client.log_batch(run.info.run_id, params=missing[start : start + PARAMS_AT_ONCE])


def _log_epochs(client: MlflowClient, run: Run, rows: pd.DataFrame) -> None:
    from mlflow.entities import Metric

    metrics = []
    for row in rows.to_dict("records"):
        # Not the clock: MLflow takes the same (key, value, step, timestamp) for the same point.
        timestamp = run.info.start_time + 1000 * row["epoch"]
        metrics += [
            Metric(_fitting(str(name)), float(value), timestamp, row["epoch"])
            for name, value in row.items()
            if name not in ("step", "epoch")
        ]
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + AT_ONCE])


def _log_picture(client: MlflowClient, run_id: str, *, name: str, step: str, path: Path) -> None:
    """Log a picture twice, for the step slider and in full size, unless the run has it already."""
    from PIL import Image

    place, content = f"{name}/{step}.png", hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    logged = json.loads(client.get_run(run_id).data.tags.get(PICTURES, "{}"))
    if logged.get(place) != content or place not in {file.path for file in client.list_artifacts(run_id, name)}:
        picture = Image.open(path)
        client.log_image(run_id, picture, key=name, step=int(step), synchronous=True)
        client.log_image(run_id, picture, artifact_file=place)
        client.set_tag(run_id, PICTURES, json.dumps(logged | {place: content}))


def _fitting(name: str) -> str:
    """Return a name that MLflow takes; a name that has to change gets a digest, so that it stays another name."""
    allowed = re.sub(r"[^\w\-. :/]", "_", name)
    return name if allowed == name and len(name) <= NAME else f"{allowed[: NAME - 13]}-{_digest(name)}"


def _cut(value: str) -> str:
    return value if len(value) <= VALUE else f"{value[: VALUE - 40]} … (the whole value: params.yaml)"


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
