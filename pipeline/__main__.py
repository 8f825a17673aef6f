"""`lookaway`, or `python -m pipeline`: every command of the project."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.choices import Expert
from pipeline.commands import server, stage
from pipeline.commands.running import user_errors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Domain experts correct what a neural network looks at while it is being trained.",
)
app.add_typer(stage.app, name="stage")
app.add_typer(server.app, name="server")

Who = Annotated[Expert, typer.Option(help="Who answers: people, or simulated experts that know the evidence.")]
Names = Annotated[list[str] | None, typer.Argument(help="Default: all of them.")]
Jobs = Annotated[int | None, typer.Option(help="How many to run at a time, one core each. Default: one per core.")]


@app.command()
def demo(expert: Who = "simulated") -> None:
    """Run the whole loop on the embedded data set, and print the comparison."""
    from pipeline.commands import demo

    with user_errors(again=f"lookaway demo --expert {expert}"):
        demo.main(expert)


@app.command()
def paper(
    only: Annotated[str, typer.Option(help="A data set or a scenario of params/paper.yaml, or `all`.")] = "all",
    backbone: Annotated[str, typer.Option(help="A backbone of params/paper.yaml.")] = "efficientnet-b0",
    expert: Who = "simulated",
) -> None:
    """Run the paper's protocol, whole or in part."""
    from pipeline.commands import paper

    with user_errors(again=f"lookaway paper --only {only} --backbone {backbone} --expert {expert}"):
        paper.main(only=only, backbone=backbone, expert=expert)


@app.command()
def experiments(
    names: Names = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds. Default: those that are published.")] = None,
    jobs: Jobs = None,
) -> None:
    """Run the cells of experiments that have no result yet, and write their tables."""
    from pipeline.experiments import runner

    with user_errors(again="lookaway experiments"):
        runner.main(names or [], seeds=seeds, jobs=jobs)


@app.command()
def search(names: Names = None, jobs: Jobs = None) -> None:
    """Compare settings on images that no result is reported on."""
    from pipeline.experiments import search

    with user_errors(again="lookaway search"):
        search.main(names or [], jobs=jobs)


@app.command()
def sweep(
    seeds: Annotated[int, typer.Option(help="How many seeds of each value.")] = 5,
    jobs: Jobs = None,
) -> None:
    """Vary one setting of the demo at a time, on DVC's queue."""
    from pipeline.commands.params_file import restore_committed
    from pipeline.experiments import sweep

    with user_errors(again="lookaway sweep"):
        restore_committed()
        sweep.main(seeds=seeds, jobs=jobs)


@app.command()
def bench(names: Names = None) -> None:
    """Measure how fast the important parts are, and write report/benchmarks.json."""
    from benchmarks.__main__ import main

    with user_errors(again="lookaway bench"):
        main(names or [])


if __name__ == "__main__":
    app(prog_name="lookaway")
