"""Errors that end a command with a message and no traceback: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

READABLE = 10  # entries of a long list that are named


class PipelineError(Exception):
    """Something that a user can put right."""


class ConfigError(PipelineError):
    """A setting is missing or wrong."""


class DataError(PipelineError):
    """A data set as the user supplied it is missing or wrong."""


class DamagedFileError(PipelineError):
    """A file that a stage wrote is missing or damaged."""


def listed(found: Iterable[object]) -> str:
    """Lines of a message: the first few entries, and the number of the others."""
    lines = [f"  {one}" for one in found]
    more = [f"  … and {len(lines) - READABLE} more"] if len(lines) > READABLE else []
    return "\n".join(lines[:READABLE] + more)
