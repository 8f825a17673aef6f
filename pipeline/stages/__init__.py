"""What each DVC stage does, a file of its own name each: parse → load → call → write → track."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from labelstudio.records import AnnotationError
from pipeline.errors import PipelineError


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage with ``--argument value`` for each of its arguments.

    What a user can put right ends with a message and exit code 1, an interruption with 130; anything
    else is a bug and keeps its traceback.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    for argument in arguments:
        parser.add_argument(f"--{argument}", required=True)
    try:
        main(**vars(parser.parse_args()))
    except (PipelineError, AnnotationError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}; nothing half-written counts as done: put it right and run `dvc repro` again")
    except KeyboardInterrupt:
        print("\ninterrupted; run `dvc repro` to go on", file=sys.stderr)
        sys.exit(130)
