"""Errors that end a command with a message and no traceback: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

READABLE = 10  # entries of a long list that are named


class PipelineError(Exception):
    """Something that a user can put right."""


class ConfigError(PipelineError):
    """A setting is missing or wrong."""


class DataError(PipelineError):
    """A data set as the user supplied it is missing or wrong."""


class NetworkError(PipelineError):
    """The method cannot be used with this network."""


class NumericalError(PipelineError):
    """A tensor is infinite or NaN."""


class DamagedFileError(PipelineError):
    """A file that a stage wrote is missing or damaged."""


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn errors while reading a file that a stage wrote into a DamagedFileError that names the file."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:  # damaged files raise errors of many types
        raise DamagedFileError(f"cannot read {path} ({error}). Fix: run `dvc repro` to write it again") from error


def listed(found: Iterable[object]) -> str:
    """Lines of a message: the first few entries, and the number of the others."""
    lines = [f"  {one}".encode(errors="backslashreplace").decode() for one in found]  # file names may hold any bytes
    more = [f"  … and {len(lines) - READABLE} more"] if len(lines) > READABLE else []
    return "\n".join(lines[:READABLE] + more)
