"""What an answer says as a whole, in one word: told apart before anybody looks at its regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum

from labelstudio import regions
from labelstudio.records import Answer


class Verdict(Enum):
    """The readings of an answer; what is beyond them is in its regions."""

    MARKED = "marked"
    NOTHING = "nothing to disregard"  # chosen, or every mark taken back, or all regions removed
    UNTOUCHED = "submitted untouched"  # a vote for nothing as well, but perhaps a hasty one
    CANNOT_JUDGE = "cannot judge"  # no vote at all
    SKIPPED = "skipped"  # not even an answer


def verdict(answer: Answer) -> Verdict:
    """How this answer is to be read.

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
    as_shown = all(isinstance(entry, dict) and entry.get("origin") == "prediction" for entry in answer.result)
    return Verdict.UNTOUCHED if answer.result and as_shown else Verdict.NOTHING


def contradiction(answer: Answer) -> str | None:
    """What is to be told about an answer that says two things at once; None about any other."""
    chosen = regions.chosen(answer.result)
    if answer.skipped or not chosen or not regions.has_marks(answer.result):
        return None
    if regions.CANNOT_JUDGE in chosen:
        return f'says "{regions.CANNOT_JUDGE}" and marks regions: the marks are not used'
    return f'says "{regions.NOTHING}" and marks regions: the marks count'


def summary(answers: Iterable[Answer]) -> str:
    """As in "12 marked, 3 nothing to disregard, 1 skipped"; "none" of no answers."""
    counts = Counter(verdict(answer) for answer in answers)
    return ", ".join(f"{counts[word]} {word.value}" for word in Verdict if counts[word]) or "none"
