"""How many queries of a round are answered, and by whom."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from labelstudio.exchange.records import Answer

RECENT = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One expert's part in a round.

    Attributes:
        answered: The number of queries that the expert answered.
        skipped: The number of queries that the expert only skipped.
        median_s: The median time of the answers, in seconds; None without an answer.
        seen: The time of the expert's last change; None if unknown.
    """

    answered: int = 0
    skipped: int = 0
    median_s: float | None = None
    seen: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A round's state at one moment, by the server's clock.

    Attributes:
        asked: The number of queries.
        answered: The number of queries with enough answers.
        skipped: The number of queries that were only skipped.
        per_expert: Each expert's part, by e-mail address.
        now: The moment.
        answers: The answers that the server has.
    """

    asked: int
    answered: int
    skipped: int
    per_expert: dict[str, Standing]
    now: datetime
    answers: tuple[Answer, ...] = ()

    @classmethod
    def of(
        cls, asked: set[str], answers: Iterable[Answer], *, seen: dict[str, datetime], now: datetime, experts: int = 1
    ) -> Progress:
        """Count the answers to these queries.

        Args:
            asked: The queries' keys.
            answers: Answers to these and to other queries.
            seen: The time of each account's last change, also of a draft, by e-mail address. Recently seen accounts
                are listed without an answer, too.
            now: The time by the server's clock, like all other times: our clock may be wrong.
            experts: The number of different experts who must answer a query.
        """
        by_expert: dict[str, list[Answer]] = {expert: [] for expert, time in seen.items() if now - time < RECENT}
        for answer in answers:
            by_expert.setdefault(answer.expert, []).append(answer)
        every = [answer for some in by_expert.values() for answer in some if answer.key in asked]
        given = [key for key, _ in {(answer.key, answer.expert) for answer in every if not answer.skipped}]
        answered = {key for key in asked if given.count(key) >= experts}
        return cls(
            asked=len(asked),
            answered=len(answered),
            skipped=len({answer.key for answer in every} - set(given)),
            per_expert={expert: _standing(by_expert[expert], seen.get(expert)) for expert in sorted(by_expert)},
            now=now,
        )

    def is_here(self, expert: str) -> bool:
        """Return True if this expert was seen in the last few minutes."""
        seen = self.per_expert[expert].seen
        return seen is not None and self.now - seen < RECENT


def _standing(answers: list[Answer], seen: datetime | None) -> Standing:
    answered = {answer.key: answer for answer in answers if not answer.skipped}
    lead_times = [answer.lead_time for answer in answered.values() if answer.lead_time is not None]
    times = [answer.version()[0] for answer in answers] + ([seen] if seen else [])
    return Standing(
        answered=len(answered),
        skipped=len({answer.key for answer in answers} - answered.keys()),
        median_s=statistics.median(lead_times) if lead_times else None,
        seen=max(times, default=None),
    )
