"""Run a stage as a program: its arguments, its processes, and how it ends."""

from __future__ import annotations

import argparse
import inspect
import os
import shlex
import sys
from importlib import import_module

from dotenv import load_dotenv

from labelstudio.exchange.records import AnnotationError
from pipeline.config import load
from pipeline.errors import ConfigError, PipelineError

STAGES = {  # each with whether `compute.launcher` starts it; the others have nothing to share out
    "prepare": False,
    "backbone": False,
    "baseline": True,
    "query-export": True,
    "annotate": False,
    "hitl-train": True,
    "automated": True,
    "placebo": True,
    "evaluate": True,
    "compare": False,
}


def run(command: list[str]) -> None:
    """Run ``[stage, "--argument", "value", …]`` in the environment and what ``.env`` adds.

    Under a launcher each process runs all of the stage with its share of the images, and the first one alone
    writes and speaks. What a user can put right ends with a message and exit code 1, an interruption with 130;
    anything else is a bug and keeps its traceback.
    """
    load_dotenv(".env")
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages", allow_abbrev=False)
    parser.add_argument("stage", choices=STAGES)
    stage = parser.parse_args(command[:1]).stage
    try:
        if STAGES[stage]:
            _launch(command)
        main = import_module(module(stage)).main
        parser = argparse.ArgumentParser(prog=f"python -m pipeline.stages {stage}", description=main.__doc__)
        for argument in inspect.signature(main).parameters:
            parser.add_argument(f"--{argument}", required=True)
        main(**vars(parser.parse_args(command[1:])))
    except (PipelineError, AnnotationError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}; nothing half-written counts as done: put it right and run `dvc repro` again")
    except KeyboardInterrupt:
        print("\ninterrupted; run `dvc repro` to go on", file=sys.stderr)
        sys.exit(130)


def module(stage: str) -> str:
    """Where a stage's ``main`` is."""
    return f"pipeline.stages.{stage.replace('-', '_')}"


def _launch(command: list[str]) -> None:
    """Become the launcher's processes, unless this is one of them; all but the first of those are silent."""
    if "LOCAL_RANK" in os.environ:
        if os.environ.get("RANK", "0") != "0":
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until this process ends
        return
    if launcher := shlex.split(load().compute.launcher):
        try:
            os.execvp(launcher[0], [*launcher, "-m", "pipeline.stages", *command])
        except OSError as error:
            raise ConfigError(
                f"cannot run `{shlex.join(launcher)}` ({error.strerror}); correct `compute.launcher` in params.yaml"
            ) from error
