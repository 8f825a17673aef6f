"""What an answer says as a whole, in one word: told apart before anybody looks at its regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum

from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Query


class Verdict(Enum):
    """The readings of an answer; what is beyond them is in its regions."""

    MARKED = "marked"
    NOTHING = "nothing to disregard"  # chosen, or every mark taken back, or all regions removed
    REMOVED = "some outlines removed"  # neither marked nor left as they were: no mark, and worth a question
    UNTOUCHED = "submitted untouched"  # a vote for nothing as well, but perhaps a hasty one
    CANNOT_JUDGE = "cannot judge"  # no vote at all
    SKIPPED = "skipped"  # not even an answer


def verdict(answer: Answer, query: Query | None = None) -> Verdict:
    """How this answer is to be read; only with its ``query`` can it be seen that outlines are missing.

    Of two that contradict each other, "cannot judge" goes before marks, since a mask should come only
    from somebody who could judge, and marks before "nothing to disregard".
    """
    if answer.skipped:
        return Verdict.SKIPPED
    chosen = regions.chosen(answer.result)
    if regions.CANNOT_JUDGE in chosen:
        return Verdict.CANNOT_JUDGE
    if regions.has_marks(answer.result):
        return Verdict.MARKED
    if answer.result and not chosen and query and removed(answer, query):
        return Verdict.REMOVED
    as_shown = all(isinstance(entry, dict) and entry.get("origin") == "prediction" for entry in answer.result)
    return Verdict.UNTOUCHED if answer.result and as_shown else Verdict.NOTHING


def removed(answer: Answer, query: Query) -> int:
    """How many of the query's proposals the answer does not have any more: Label Studio lets experts delete them."""
    there = {entry.get("id") for entry in answer.result if isinstance(entry, dict)}
    return sum(proposal.id not in there for proposal in query.proposals)


def contradiction(answer: Answer) -> str | None:
    """What is to be told about an answer that says two things at once; None about any other."""
    chosen = regions.chosen(answer.result)
    if answer.skipped or not chosen or not regions.has_marks(answer.result):
        return None
    if regions.CANNOT_JUDGE in chosen:
        return f'says "{regions.CANNOT_JUDGE}" and marks regions: the marks are not used'
    return f'says "{regions.NOTHING}" and marks regions: the marks count'


def summary(answers: Iterable[Answer], queries: dict[str, Query]) -> str:
    """As in "12 marked, 3 nothing to disregard, 1 skipped"; "none" of no answers."""
    counts = Counter(verdict(answer, queries.get(answer.key)) for answer in answers)
    return ", ".join(f"{counts[word]} {word.value}" for word in Verdict if counts[word]) or "none"
