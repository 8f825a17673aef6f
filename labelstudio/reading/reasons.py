"""Why: a round's marks by the reasons that experts gave for them, and the effect of the marks with each reason."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from labelstudio.exchange.effects import Effect
from labelstudio.exchange.records import Answer, Query
from labelstudio.reading.consensus import latest
from labelstudio.reading.marks import marked, reasons

NONE = "no reason"


def report(queries: dict[str, Query], answers: list[Answer], effects: list[Effect]) -> dict[str, dict[str, Any]]:
    """Return a round's marks by reason, ready for JSON, the most frequent reason first; empty without any reason.

    Args:
        queries: The round's queries by key.
        answers: The round's answers, of which each expert's last one to a query counts.
        effects: The round's effects on the marked images.

    Returns:
        For each reason, and for marks without one: the number of ``marks``, the number of ``images`` with such a mark,
        and the mean attention on what must not matter on these images, ``before`` and ``after`` the round's training.
    """
    marks, images = defaultdict[str, int](int), defaultdict[str, set[str]](set)
    for key, query in queries.items():
        for answer in latest([answer for answer in answers if answer.key == key]):
            given = reasons(answer.result)
            for region in marked(answer.result):
                word = given.get(str(region.get("id")), NONE)
                marks[word] += 1
                images[word].add(query.image_id)
    if not marks.keys() - {NONE}:
        return {}
    order = sorted(marks, key=lambda word: (word == NONE, -marks[word], word))
    return {
        word: {"marks": marks[word], "images": len(images[word]), **_effect(images[word], effects)} for word in order
    }


def words(found: dict[str, dict[str, Any]]) -> str:
    """Return the report in one line; empty without any reason."""
    return ", ".join(f"{word} {one['marks']}" for word, one in found.items())


def _effect(images: set[str], effects: list[Effect]) -> dict[str, float | None]:
    shares = [(effect.before, effect.after) for effect in effects if effect.image_id in images]
    if not shares:
        return {"before": None, "after": None}
    before, after = (round(statistics.fmean(some), 4) for some in zip(*shares, strict=True))
    return {"before": before, "after": after}
