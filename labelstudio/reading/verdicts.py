"""Verdicts: one word for each answer as a whole, before its regions count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum

from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Query
from labelstudio.reading.marks import both_ways, idle_reasons


class Verdict(Enum):
    """The meaning of an answer as a whole."""

    EVIDENCE = "evidence marked"  # everything else must not matter; regions may be marked besides
    MARKED = "marked"
    CONFIRMED = "pre-filled marks confirmed"  # submitted as shown, with the marks of the computer
    NOTHING = "nothing to disregard"  # the choice, or all marks undone, or all regions deleted
    REMOVED = "some outlines removed"  # a vote without marks, and a reason to ask the expert
    UNTOUCHED = "submitted untouched"  # a vote without marks, but perhaps a hasty one
    CANNOT_JUDGE = "cannot judge"  # no vote
    SKIPPED = "skipped"  # no answer


def verdict(answer: Answer, query: Query | None = None) -> Verdict:
    """Return the answer's verdict; removed outlines are recognized only with the answer's ``query``.

    An answer may contradict itself. "Cannot judge" has priority over marks, because a mask must come from an expert
    who could judge. Marks have priority over "nothing to disregard", and evidence has priority over other marks.
    """
    if answer.skipped:
        return Verdict.SKIPPED
    chosen = regions.chosen(answer.result)
    if regions.CANNOT_JUDGE in chosen:
        return Verdict.CANNOT_JUDGE
    if regions.has_marks(answer.result, [regions.EVIDENCE]):
        return Verdict.EVIDENCE
    seen = [entry for entry in answer.result if not regions.is_reason(entry)]
    as_shown = all(isinstance(entry, dict) and entry.get("origin") == "prediction" for entry in seen)
    if regions.has_marks(answer.result):
        whole = as_shown and not (query and removed(answer, query))
        return Verdict.CONFIRMED if whole and any(map(regions.is_untouched, answer.result)) else Verdict.MARKED
    if answer.result and not chosen and query and removed(answer, query):
        return Verdict.REMOVED
    return Verdict.UNTOUCHED if (answer.result or answer.blind) and as_shown else Verdict.NOTHING


def removed(answer: Answer, query: Query) -> int:
    """Return how many of the query's proposals the answer lacks, because the expert deleted them in Label Studio."""
    if answer.blind:
        return 0
    present = {str(entry.get("id")) for entry in answer.result if isinstance(entry, dict)}
    return sum(proposal.id not in present for proposal in query.proposals)


def contradictions(answer: Answer, query: Query) -> list[str]:
    """Return a message for each contradiction.

    These are a choice beside marks, a region marked both ways, and a reason for a region that is not marked.
    """
    if answer.skipped:
        return []
    idle = idle_reasons(answer.result)
    if not regions.has_marks(answer.result):
        return idle
    chosen = regions.chosen(answer.result)
    if regions.CANNOT_JUDGE in chosen:
        return [f'the answer has marks and the choice "{regions.CANNOT_JUDGE}": its marks are ignored', *idle]
    choice = [f'the answer has marks and the choice "{regions.NOTHING}": its marks count'] if chosen else []
    return choice + both_ways(answer, query) + idle


def summary(answers: Iterable[Answer], queries: dict[str, Query]) -> str:
    """Return the number of answers by verdict, as in "12 marked, 3 nothing to disregard"; "none" without answers."""
    counts = Counter(verdict(answer, queries.get(answer.key)) for answer in answers)
    return ", ".join(f"{counts[found]} {found.value}" for found in Verdict if counts[found]) or "none"
