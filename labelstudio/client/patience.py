"""How long a stage waits for a round's answers, and how many answered queries are enough.

Three variables, in the environment or in ``.env``:

- ``ANNOTATE_DEADLINE``: the end of the wait, a time of today ("14:00", local time) or an ISO 8601 date and time
- ``ANNOTATE_WAIT_S``: the longest wait in seconds; 0 pushes the queries and does not wait
- ``ANNOTATE_QUORUM``: the number of a round's answered queries that is enough

Without the first two, the stage waits without an end; with both, until the earlier end. Until then the stage waits
for every query. At the end a reached quorum lets the round continue; otherwise the stage fails, and the next
`dvc repro` waits again. A quorum without an end is enough as soon as it is reached.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from labelstudio.exchange.records import AnnotationError

# In the environment and not in params.yaml: after a change of params, DVC would run the stage again.
DEADLINE, WAIT, QUORUM = "ANNOTATE_DEADLINE", "ANNOTATE_WAIT_S", "ANNOTATE_QUORUM"


@dataclass(frozen=True)
class Patience:
    """The limits of a wait.

    Attributes:
        limit_s: The longest wait in seconds; None for no limit.
        quorum: The number of answered queries that is enough; None for all.
    """

    limit_s: float | None = None
    quorum: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str | None]) -> Patience:
        """Read the limits, counted from now; raise AnnotationError for a bad value."""
        limits = [_seconds(environment.get(WAIT)), _until(environment.get(DEADLINE))]
        return cls(min((limit for limit in limits if limit is not None), default=None), _count(environment.get(QUORUM)))

    def enough(self, asked: int) -> int:
        """Return how many of ``asked`` queries must be answered."""
        return asked if self.quorum is None else min(self.quorum, asked)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise AnnotationError(f"`{WAIT}` must be a number of seconds, not {text!r}. Fix: correct or unset it.")
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
            f"`{DEADLINE}` must be a time of today such as 14:00, or a date and time such as 2026-05-04T14:00, "
            f"not {text!r}. Fix: correct or unset it."
        ) from None
    return max(end.timestamp() - time.time(), 0.0)


def _count(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise AnnotationError(
            f"`{QUORUM}` must be a number of queries, 1 or more, not {text!r}. Fix: correct or unset it."
        )
    return int(text)
