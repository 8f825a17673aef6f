"""Disputes: the queries on which experts disagree, and that nobody has decided yet."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from labelstudio.exchange.records import Answer, Query
from labelstudio.reading.agreement import compared, iou
from labelstudio.reading.consensus import decision, judged, latest


def disputed(queries: dict[str, Query], answers: list[Answer]) -> dict[str, Query]:
    """Return the undecided queries on which two experts disagree, by key.

    Two experts disagree if they judge a proposal differently, or if their marks share less than half of their union.
    An expert who cannot judge has no vote, and disagrees with nobody.
    """
    found = {}
    for key, query in queries.items():
        given = [answer for answer in answers if answer.key == key]
        if decision(given) is None and any(_disagree(query, *pair) for pair in combinations(latest(given), 2)):
            found[key] = query
    return found


def _disagree(query: Query, one: Answer, other: Answer) -> bool:
    judgements = judged(query, one), judged(query, other)
    return not np.array_equal(*judgements) or iou(*compared(query, one, other)) < 0.5
