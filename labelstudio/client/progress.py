"""How far a round's queries are answered, and by whom."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from labelstudio.exchange.records import Answer

RECENT = timedelta(minutes=5)


@dataclass(frozen=True)
class Standing:
    """One expert's part: queries answered and skipped, the answers' median time in seconds, and when last seen."""

    answered: int = 0
    skipped: int = 0
    median_s: float | None = None
    seen: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """How many queries were asked and answered, how many were only skipped, each expert's part, and when that was."""

    asked: int
    answered: int
    skipped: int
    per_expert: dict[str, Standing]
    now: datetime

    @classmethod
    def of(
        cls, asked: set[str], answers: Iterable[Answer], seen: dict[str, datetime], now: datetime, experts: int = 1
    ) -> Progress:
        """Count these answers to the queries ``asked``, which are answered when so many different experts did.

        ``seen`` says when accounts last saved something, if only a draft; those who are there without an answer yet are
        listed too. Every time, ``now`` included, is by the server's clock, so that ours may be wrong.
        """
        theirs: dict[str, list[Answer]] = {expert: [] for expert, when in seen.items() if now - when < RECENT}
        for answer in answers:
            theirs.setdefault(answer.expert, []).append(answer)
        every = [answer for some in theirs.values() for answer in some if answer.key in asked]
        given = [key for key, _ in {(answer.key, answer.expert) for answer in every if not answer.skipped}]
        answered = {key for key in asked if given.count(key) >= experts}
        return cls(
            asked=len(asked),
            answered=len(answered),
            skipped=len({answer.key for answer in every} - set(given)),
            per_expert={expert: _standing(theirs[expert], seen.get(expert)) for expert in sorted(theirs)},
            now=now,
        )

    def is_here(self, expert: str) -> bool:
        """Whether this expert has been seen in the last few minutes."""
        seen = self.per_expert[expert].seen
        return seen is not None and self.now - seen < RECENT


def _standing(answers: list[Answer], seen: datetime | None) -> Standing:
    answered = {a.key: a for a in answers if not a.skipped}
    times = [a.lead_time for a in answered.values() if a.lead_time is not None]
    when = [a.version()[0] for a in answers] + ([seen] if seen else [])
    return Standing(
        answered=len(answered),
        skipped=len({a.key for a in answers} - answered.keys()),
        median_s=statistics.median(times) if times else None,
        seen=max(when, default=None),
    )
