"""Publish results to MLflow. DVC's outputs are the truth: MLflow's database can be deleted and rebuilt at any time.

There is one experiment, and one run for each scenario, arm, seed and settings. Each scenario has one registered
model with an alias for each arm. MLflow is imported late, because its import takes seconds.
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

EXPERIMENT = "lookaway"  # unless MLFLOW_EXPERIMENT_NAME names another experiment
DEFAULT_URI = "sqlite:///mlflow.db"


def create_database() -> None:
    """Create MLflow's database and the experiment if they do not exist."""
    _experiment(_client())


def publish_arm(config: Config, scenario: str, arm: str, *, through: str | None = None) -> None:
    """Bring one arm's run up to date; a failure prints a warning only.

    A stage calls this after its own files are written, and `compare` publishes everything again.

    Args:
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name.
        through: The last finished round; without it, the arm is finished.
    """
    try:
        client = _client()
        folder = step_dir(scenario, through) if through else results.final_dir(config, scenario, arm)
        run_id = runs.update(
            client,
            experiment=_experiment(client),
            config=config,
            scenario=scenario,
            arm=arm,
            history=results.history(folder),
        )
        if arm == "hitl":
            done = [entry.n for entry in config.hitl.rounds if through is None or entry.n <= through]
            runs.log_queries(client, run_id, scenario=scenario, rounds=done)
    except Exception as error:  # MLflow, its database and its server have unrelated exception classes
        print(f"warning: not published to MLflow ({error}). The stage `compare` tries again.", file=sys.stderr)


def publish_reviews(config: Config, scenario: str) -> None:
    """Log the pictures of all reviewed rounds to the run of `hitl`, if it exists; a failure prints a warning only."""
    try:
        client = _client()
        run = runs.find(client, _experiment(client), runs.key(config, scenario, "hitl"))
        if run:
            rounds = [entry.n for entry in config.hitl.rounds]
            runs.log_queries(client, run.info.run_id, scenario=scenario, rounds=rounds)
    except Exception as error:  # see publish_arm
        print(f"warning: not published to MLflow ({error}). The stage `compare` tries again.", file=sys.stderr)


def publish_all(config: Config, note: list[str]) -> None:
    """Bring all runs, pictures, registered models and the experiment's page up to date.

    Args:
        config: The settings.
        note: Parts of the page's note in Markdown, the most important first; MLflow has room for the first ones.

    Raises:
        Exception: An error of MLflow, its database or its server.
    """
    client = _client()
    experiment = _experiment(client)
    for scenario in config.scenarios:
        graph = registered.Graph()
        for arm in results.arms(config, scenario):
            history = results.history(results.final_dir(config, scenario, arm))
            run_id = runs.update(
                client, experiment=experiment, config=config, scenario=scenario, arm=arm, history=history
            )
            if arm == "hitl":
                runs.log_queries(client, run_id, scenario=scenario, rounds=[entry.n for entry in config.hitl.rounds])
            summary = results.summary(history, arm)
            runs.log_evaluation(client, run_id, scenario=scenario, arm=arm, summary=summary)
            registered.register(
                client, run_id, name=f"{_name()}-{scenario}", config=config, scenario=scenario, arm=arm, graph=graph
            )
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
    """Return the experiment's id; create the experiment if it does not exist."""
    found = client.get_experiment_by_name(_name())
    return str(found.experiment_id if found else client.create_experiment(_name()))


def _name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
