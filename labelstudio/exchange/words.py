"""The words that callers choose from, as in pipeline/choices.py, which this package does not import."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal, get_args

Rule = Literal["majority", "any", "all", "dawid-skene"]
Marks = Literal["irrelevant", "evidence"]


def assert_known(given: object, kind: Any, name: str) -> None:
    """Raise ValueError, with the nearest word in its message, if ``given`` is no word of a choice of this module."""
    words = get_args(kind)
    if given not in words:
        near = get_close_matches(str(given), words, n=1)
        remedy = f"write {near[0]!r}, or " if near else ""
        raise ValueError(f"unknown {name} {given!r}. Fix: {remedy}choose one of {', '.join(words)}")
