"""Are the outlines believed? Experts' agreement with the model's proposals, with and without their outlines.

A proposal says that the model looks at a region, and should; a pre-filled proposal says that it should not. An expert
who leaves the region as it is agrees. If experts agree more where they see the outlines, the outlines persuade them.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from labelstudio.exchange.records import Answer, Query
from labelstudio.reading.consensus import judged

Z = 1.959964  # of a 95% interval


class Share(NamedTuple):
    """The mean agreement over some queries, 0 to 1; of no query it is 0."""

    agreement: float
    queries: int


def shares(queries: dict[str, Query], answers: list[Answer]) -> dict[str, Share]:
    """Return one expert's agreement with the proposals, on queries "with" and "without" outlines.

    Args:
        queries: A round's queries by key.
        answers: The expert's answers to these queries, one each.
    """
    found: dict[str, list[float]] = {"with": [], "without": []}
    for answer in answers:
        query = queries[answer.key]
        proposed = np.array([proposal.prefilled for proposal in query.proposals], bool)
        if len(proposed):
            agreement = float((judged(query, answer) == proposed).mean())
            found["without" if answer.blind else "with"].append(agreement)
    return {name: Share(float(np.mean(values)) if values else 0.0, len(values)) for name, values in found.items()}


def pooled(some: list[Share]) -> Share:
    """Return the agreement over the queries of all shares."""
    queries = sum(share.queries for share in some)
    return Share(sum(share.agreement * share.queries for share in some) / max(queries, 1), queries)


def compared(shown: Share, blind: Share) -> dict[str, Any]:
    """Return both agreements and their difference with 95% intervals, ready for JSON; None where nothing was judged.

    Wilson's intervals (1927), and for the difference Newcombe's (1998, method 10). The regions of one image are not
    independent. So each query counts as one trial, which makes the intervals wide rather than narrow.
    """
    found: dict[str, Any] = {"with": _described(shown), "without": _described(blind), "difference": None}
    if shown.queries and blind.queries:
        difference = shown.agreement - blind.agreement
        (low, high), (low_blind, high_blind) = _wilson(shown), _wilson(blind)
        below = sqrt((shown.agreement - low) ** 2 + (high_blind - blind.agreement) ** 2)
        above = sqrt((high - shown.agreement) ** 2 + (blind.agreement - low_blind) ** 2)
        interval = [round(difference - below, 4), round(difference + above, 4)]
        found["difference"] = {"agreement": round(difference, 4), "interval": interval}
    return found


def read(found: dict[str, Any]) -> tuple[Share, Share]:
    """Return the agreement with and without outlines from the JSON that ``compared`` gives."""
    shown, blind = (Share(one["agreement"] or 0.0, one["queries"]) for one in (found["with"], found["without"]))
    return shown, blind


def words(found: dict[str, Any] | None) -> str:
    """Return one agreement with its interval and number of queries, as in "62% [50, 73] (18)"."""
    if found is None or found["agreement"] is None:
        return ""
    low, high = found["interval"]
    count = f" ({found['queries']})" if "queries" in found else ""
    return f"{found['agreement']:.0%} [{100 * low:.0f}, {100 * high:.0f}]{count}"


def _described(share: Share) -> dict[str, Any]:
    if not share.queries:
        return {"queries": 0, "agreement": None, "interval": None}
    interval = [round(end, 4) for end in _wilson(share)]
    return {"queries": share.queries, "agreement": round(share.agreement, 4), "interval": interval}


def _wilson(share: Share) -> tuple[float, float]:
    p, n = share
    middle, reach = p + Z**2 / (2 * n), Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max((middle - reach) / (1 + Z**2 / n), 0.0), min((middle + reach) / (1 + Z**2 / n), 1.0)
