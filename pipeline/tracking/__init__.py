"""MLflow, as a projection of what DVC's outputs say: it can be deleted and rebuilt at any time.

One experiment, one run for each (scenario, arm, seed) and settings, found again by a tag; one registered model for each
scenario, with an alias for each arm. Only this package imports mlflow; it is imported late, for it takes
seconds. Nothing here decides anything: no stage's outputs depend on it, so dvc.yaml does not list it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import step_dir
from pipeline.tracking import registered, runs, view

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "lookaway"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
DEFAULT_URI = "sqlite:///mlflow.db"


def create_database() -> None:
    """Create the database and the experiment, if they are not there yet."""
    _experiment(_client())


def publish(config: Config, scenario: str, arm: str, through: str | None = None) -> None:
    """Bring one arm's run up to date with the files on disk; ``through`` is the last finished round.

    Called by stages whose own work is done and kept: trouble with MLflow is said, and costs nothing,
    since `compare` publishes everything again.
    """
    try:
        client = _client()
        folder = step_dir(scenario, through) if through else results.final_dir(config, scenario, arm)
        run_id = runs.run_id(client, _experiment(client), config, scenario, arm, results.history(folder))
        if arm == "hitl":
            done = [entry.n for entry in config.hitl.rounds if through is None or entry.n <= through]
            runs.log_queries(client, run_id, scenario, done)
    except Exception as error:  # MLflow, its database and its server each have exceptions of their own
        print(f"warning: not published to MLflow ({error}); `compare` will try again", file=sys.stderr)


def publish_all(config: Config, note: list[str]) -> None:
    """Bring every run up to date, with summaries, pictures and final models, and set the experiment's page.

    ``note``: its parts, in Markdown, the most important first; as many as MLflow takes are shown.
    Raises whatever MLflow raises: this is the stage that has to show the comparison.
    """
    client = _client()
    experiment = _experiment(client)
    for scenario in config.scenarios:
        graph = registered.Graph()
        for arm in results.arms(config, scenario):
            history = results.history(results.final_dir(config, scenario, arm))
            run_id = runs.run_id(client, experiment, config, scenario, arm, history)
            if arm == "hitl":
                runs.log_queries(client, run_id, scenario, [entry.n for entry in config.hitl.rounds])
            runs.log_evaluation(client, run_id, scenario, arm, results.summary(history, arm))
            registered.register(client, run_id, f"{_name()}-{scenario}", config, scenario, arm, graph)
            if client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id)
    view.set_page(client, experiment, note)


def _client() -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_URI)
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return mlflow.MlflowClient()


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(_name())
    return str(found.experiment_id if found else client.create_experiment(_name()))


def _name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
