"""Run a command in the environment and `.env`, and end it with a message where a user can put things right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dotenv import load_dotenv

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import checkout
from pipeline.errors import PipelineError


@contextmanager
def user_errors(again: str) -> Iterator[None]:
    """Inside, `.env` adds to the environment, and errors that a user can put right end the process with a message.

    `.env` is the checkout's, also in DVC's copies of the checkout. The exit code is 1 for an error and 130 for an
    interruption. Any other exception is a bug and keeps its traceback.
    ``again``: the command that resumes the work.
    """
    try:
        load_dotenv(checkout.home() / ".env")
        yield
    except (PipelineError, AnnotationError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}. Nothing half-written counts as done. Fix: remove the cause and run `{again}` again")
    except KeyboardInterrupt:
        print(f"\ninterrupted: nothing is lost. Run `{again}` to resume", file=sys.stderr)
        sys.exit(130)
