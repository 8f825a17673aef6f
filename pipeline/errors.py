"""The errors that end a stage with a message and no traceback."""

from __future__ import annotations

from collections.abc import Iterable

READABLE = 10  # of a long list, as many are named


class PipelineError(Exception):
    """Something a user can put right; the message says what, where, and how."""


def listed(found: Iterable[object]) -> str:
    """Lines of a message: the first few of what was found, and how many more there are."""
    lines = [f"  {one}" for one in found]
    more = [f"  … and {len(lines) - READABLE} more"] if len(lines) > READABLE else []
    return "\n".join(lines[:READABLE] + more)
