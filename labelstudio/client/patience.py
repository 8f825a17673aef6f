"""How long a round's answers are waited for, and how many are enough: in the environment, or in ``.env``.

``ANNOTATE_DEADLINE``  wait until then: a time of today ("14:00", local time) or an ISO 8601 date and time
``ANNOTATE_WAIT_S``    wait so many seconds at most; 0 puts the queries and comes back at once
``ANNOTATE_QUORUM``    so many answered queries of a round are enough

With neither of the first two it waits as long as it takes; with both, until the earlier one. Until then it
waits for every query. When time is up, a quorum that is reached lets the round go on; otherwise the stage
fails, and the next `dvc repro` waits again. A quorum without a time is enough as soon as it is reached.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from labelstudio.exchange.records import AnnotationError

# In the environment and not in params.yaml, since a changed param would make DVC forget the answers.
DEADLINE, WAIT, QUORUM = "ANNOTATE_DEADLINE", "ANNOTATE_WAIT_S", "ANNOTATE_QUORUM"


@dataclass(frozen=True)
class Patience:
    """``limit_s``: seconds to wait (None: as long as it takes); ``quorum``: answered queries (None: all)."""

    limit_s: float | None = None
    quorum: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str | None]) -> Patience:
        """What these variables say, counted from now; raises AnnotationError where they say nothing sensible."""
        limits = [
            limit for limit in (_seconds(environment.get(WAIT)), _until(environment.get(DEADLINE))) if limit is not None
        ]
        return cls(min(limits, default=None), _count(environment.get(QUORUM)))

    def enough(self, asked: int, before: int = 0) -> int:
        """How many of ``asked`` queries must be answered, when ``before`` more of the round have been already."""
        return asked if self.quorum is None else min(max(self.quorum - before, 0), asked)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise AnnotationError(f"{WAIT} must be a number of seconds, not {text!r}; correct or unset it")
    return seconds


def _until(text: str | None) -> float | None:
    if not text:
        return None
    try:
        if "-" in text:
            end = datetime.fromisoformat(text.replace("Z", "+00:00"))
        else:
            end = datetime.combine(datetime.now(), datetime.strptime(text, "%H:%M").time())
    except ValueError:
        raise AnnotationError(
            f"{DEADLINE} must be a time of today such as 14:00, or a date and time such as 2026-05-04T14:00, "
            f"not {text!r}; correct or unset it"
        ) from None
    return max(end.timestamp() - time.time(), 0.0)


def _count(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise AnnotationError(f"{QUORUM} must be a number of queries, 1 or more, not {text!r}; correct or unset it")
    return int(text)
