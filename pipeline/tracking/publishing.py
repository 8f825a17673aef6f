"""Publish results to MLflow. DVC's outputs are the truth: MLflow's database can be deleted and rebuilt at any time.

There is one experiment, and one run for each scenario, arm, seed and settings. Each scenario has one registered
model with an alias for each arm. A failure is a warning only: no result depends on MLflow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeline.arms import results
from pipeline.config import Config
from pipeline.data.prepared import EXTERNAL
from pipeline.evaluation import groups, score_files
from pipeline.paths import annotated_dir, card_file, scores_file, screening_file, step_dir
from pipeline.tracking import inputs, registered, runs, store, view

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient


def create_database() -> None:
    """Create MLflow's database and the experiment if they do not exist."""
    store.experiment(store.client())


def publish_arm(config: Config, scenario: str, arm: str, *, through: str | None = None) -> None:
    """Bring one arm's run up to date; a failure prints a warning only.

    A stage calls this after its own files are written, and `compare` publishes everything again.

    Args:
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name.
        through: The last finished round; without it, the arm is finished.
    """
    with _warning():
        client = store.client()
        folder = step_dir(scenario, through) if through else results.final_dir(config, scenario, arm)
        run_id = runs.update(
            client,
            experiment=store.experiment(client),
            config=config,
            scenario=scenario,
            arm=arm,
            history=results.history(folder),
        )
        if arm == "hitl":
            done = [entry.n for entry in config.hitl.rounds if through is None or entry.n <= through]
            runs.log_queries(client, run_id, scenario=scenario, rounds=done)


def publish_epochs(config: Config, scenario: str, arm: str, history: pd.DataFrame) -> bool:
    """Log the epochs of an arm in training; return False without a word if this fails: the stage's end says it."""
    with suppress(Exception):
        client = store.client()
        runs.update(
            client,
            experiment=store.experiment(client),
            config=config,
            scenario=scenario,
            arm=arm,
            history=history,
            in_training=True,
        )
        return True
    return False


def publish_reviews(config: Config, scenario: str) -> None:
    """Log the pictures of all reviewed rounds to the run of `hitl`, if it exists; a failure prints a warning only."""
    with _warning():
        client = store.client()
        run = runs.find(client, store.experiment(client), runs.key(config, scenario, "hitl"))
        if run:
            rounds = [entry.n for entry in config.hitl.rounds]
            runs.log_queries(client, run.info.run_id, scenario=scenario, rounds=rounds)


def publish_all(config: Config, note: list[str]) -> None:
    """Bring all runs, pictures, registered models and the experiment's page up to date.

    A failure prints a warning only.

    Args:
        config: The settings.
        note: Parts of the page's note in Markdown, the most important first; MLflow has room for the first ones.
    """
    with _warning():
        client = store.client()
        experiment = store.experiment(client)
        for scenario in config.scenarios:
            _publish_scenario(client, experiment, config=config, scenario=scenario)
        view.set_page(client, experiment, note)


def _publish_scenario(client: MlflowClient, experiment: str, *, config: Config, scenario: str) -> None:
    graph = registered.Graph()
    scores = score_files.read(scores_file(scenario))
    images = list(inputs.images(config, scenario))
    for arm in results.arms(config, scenario):
        history = results.history(results.final_dir(config, scenario, arm))
        run_id = runs.update(client, experiment=experiment, config=config, scenario=scenario, arm=arm, history=history)
        if arm == "hitl":
            runs.log_queries(client, run_id, scenario=scenario, rounds=[entry.n for entry in config.hitl.rounds])
        answers = [] if arm in results.WITHOUT_FEEDBACK else [inputs.answers(config, scenario)]
        client.log_inputs(run_id, [*images, *answers])
        findings = tuple(f"_{name}" for name in config.findings(config.scenario(scenario).dataset) or ())
        summary = results.summary(history, arm)
        for name, value in scores[arm].items():
            is_of_group = groups.is_score(name, config.scenario(scenario).groups)
            if name.startswith(EXTERNAL) or is_of_group or (findings and name.endswith(findings)):
                summary[name] = value
        screening = screening_file(config.scenario(scenario).dataset).with_suffix(".html")
        runs.log_evaluation(client, run_id, scenario=scenario, arm=arm, summary=summary, screening=screening)
        name = registered.name(store.name(), scenario)
        registered.register(client, run_id, name=name, config=config, scenario=scenario, arm=arm, graph=graph)
        papers = [card_file(scenario), annotated_dir(scenario) / "croissant.json"]
        registered.attach(client, name=name, arm=arm, files=[path for path in papers if path.exists()])
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id)


@contextmanager
def _warning() -> Iterator[None]:
    """Turn an error into a warning: MLflow, its database and its server have unrelated exception classes."""
    try:
        yield
    except Exception as error:
        print(
            f"warning: not published to MLflow ({store.reason(error)}). No result is lost. To publish later, run `dvc "
            "repro --force --single-item compare`.",
            file=sys.stderr,
        )
