"""`lookaway stage NAME …`: run one DVC stage; dvc.yaml has these commands."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from typing import Annotated

import typer

from pipeline.choices import Placebo
from pipeline.commands import progress
from pipeline.commands.running import user_errors
from pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Run one DVC stage, as dvc.yaml does.")

Scenario = Annotated[str, typer.Option(help="A scenario of params.yaml.")]
Round = Annotated[str, typer.Option(help="The round, as `hitl.rounds` names it: 00, 01, …")]
After = Annotated[str, typer.Option(help="The round before it, or `start`.")]


@app.command()
def prepare(dataset: Annotated[str, typer.Option(help="A data set of params.yaml.")]) -> None:
    """Decode and resize every image of a data set once, for all later stages."""
    _run("prepare", dataset=dataset)


@app.command()
def screen(dataset: Annotated[str, typer.Option(help="A data set of params.yaml.")]) -> None:
    """Find what predicts the class by itself, before any training."""
    _run("screen", dataset=dataset)


@app.command()
def backbone(backbone: Annotated[str, typer.Option(help="A backbone of params.yaml.")]) -> None:
    """Get pretrained weights from the one source that params.yaml names."""
    _run("backbone", backbone=backbone)


@app.command()
def baseline(scenario: Scenario) -> None:
    """Choose a scenario's images and train without feedback."""
    _launch()
    _run("baseline", scenario=scenario)


@app.command()
def query_export(
    scenario: Scenario,
    round: Round,
    after: After,
    queries: Annotated[int, typer.Option(help="How many images to ask about.")],
) -> None:
    """Select a round's queries and the regions to show on them."""
    _launch()
    _run("query-export", scenario=scenario, round=round, after=after, queries=queries)


@app.command()
def annotate(scenario: Scenario, round: Round) -> None:
    """Put a round's queries before the experts, wait, and collect every answer."""
    _run("annotate", scenario=scenario, round=round)


@app.command()
def hitl_train(
    scenario: Scenario,
    round: Round,
    after: After,
    epochs: Annotated[int, typer.Option(help="How many epochs to train.")],
) -> None:
    """Turn a round's answers into masks, and train with all masks in force."""
    _launch()
    _run("hitl-train", scenario=scenario, round=round, after=after, epochs=epochs)


@app.command()
def review(scenario: Scenario, round: Round, after: After) -> None:
    """Draw what was marked in a round and what the marks did, and report how its experts agree."""
    _run("review", scenario=scenario, round=round, after=after)


@app.command()
def automated(scenario: Scenario) -> None:
    """Train the arm without feedback, from the same start as `hitl` and for equally many epochs."""
    _launch()
    _run("automated", scenario=scenario)


@app.command()
def placebo(scenario: Scenario, arm: Annotated[Placebo, typer.Option(help="Which placebo.")]) -> None:
    """Train the rounds of `hitl` again, without the experts' knowledge."""
    _launch()
    _run("placebo", scenario=scenario, arm=arm)


@app.command()
def evaluate(scenario: Scenario) -> None:
    """Score, explain and draw the final network of each arm."""
    _launch()
    _run("evaluate", scenario=scenario)


@app.command()
def compare() -> None:
    """Compare all arms of all scenarios: tables, the report, MLflow."""
    _run("compare")


def _run(stage: str, **arguments: object) -> None:
    """Run a stage's ``main``; nothing that it needs is imported before."""
    with user_errors(again="dvc repro"):
        progress.say()
        import_module(f"pipeline.stages.{stage.replace('-', '_')}").main(**arguments)


def _launch() -> None:
    """Become the processes of `compute.launcher`, unless this is one of them.

    Each process runs the whole stage with its share of the images. Only the first process writes files and prints.
    """
    if "LOCAL_RANK" in os.environ:
        if os.environ.get("RANK", "0") != "0":
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until this process ends
        return
    from pipeline.config import load

    with user_errors(again="dvc repro"):
        if launcher := shlex.split(load().compute.launcher):
            try:
                os.execvp(launcher[0], [*launcher, "-m", "pipeline", *sys.argv[1:]])
            except OSError as error:
                raise ConfigError(
                    f"cannot run the launcher `{shlex.join(launcher)}` ({error.strerror}). "
                    "Fix: correct `compute.launcher` in params.yaml"
                ) from error
