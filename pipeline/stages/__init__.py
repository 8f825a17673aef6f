"""What each DVC stage does, a file of its own name each: parse → load → call → write → track."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable

from dotenv import load_dotenv

from labelstudio.records import AnnotationError
from pipeline.config import ConfigError, load
from pipeline.errors import PipelineError


def run(main: Callable[..., None], *arguments: str, launched: bool = False) -> None:
    """Run a stage with ``--argument value`` for each of its arguments, in the environment and what ``.env`` adds.

    A stage that is ``launched`` runs under `compute.launcher`, if there is one: then each process runs all of it
    with its share of the images, and the first one alone writes and speaks. What a user can put right ends with a
    message and exit code 1, an interruption with 130; anything else is a bug and keeps its traceback.
    """
    load_dotenv(".env")
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    for argument in arguments:
        parser.add_argument(f"--{argument}", required=True)
    try:
        if launched:
            _launch()
        main(**vars(parser.parse_args()))
    except (PipelineError, AnnotationError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}; nothing half-written counts as done: put it right and run `dvc repro` again")
    except KeyboardInterrupt:
        print("\ninterrupted; run `dvc repro` to go on", file=sys.stderr)
        sys.exit(130)


def _launch() -> None:
    """Become the launcher's processes, unless this is one of them; all but the first of those are silent."""
    if "LOCAL_RANK" in os.environ:
        if os.environ.get("RANK", "0") != "0":
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until this process ends
        return
    if launcher := shlex.split(load().compute.launcher):
        module = sys.modules["__main__"].__spec__
        assert module is not None
        try:
            os.execvp(launcher[0], [*launcher, "-m", module.name, *sys.argv[1:]])
        except OSError as error:
            raise ConfigError(
                f"cannot run `{shlex.join(launcher)}` ({error.strerror}); correct `compute.launcher` in params.yaml"
            ) from error
