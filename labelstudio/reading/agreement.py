"""How much the experts of a round agree, with each other and with what is known: what crowd.json holds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Query
from labelstudio.reading.consensus import judged, latest

Mask = npt.NDArray[np.bool_]


def report(queries: dict[str, Query], answers: list[Answer], gold: dict[str, Mask]) -> dict[str, Any]:
    """One round's agreement, ready for JSON; None where there is nothing to compare.

    ``gold`` has, by key, which proposals (P,) of a query are known to have to be marked. ``alpha`` is
    Krippendorff's, over proposals; ``iou`` the mean over queries and pairs of experts of intersection over
    union of what they marked. An expert's own are the means over their pairs; ``accuracy`` is the
    share of a gold query's proposals on which they are right.
    """
    readings = {key: latest([answer for answer in answers if answer.key == key]) for key in queries}
    experts = sorted({answer.expert for given in readings.values() for answer in given})
    judgements = _judgements(queries, readings, experts)
    overlaps = _overlaps(queries, readings)
    alphas = {pair: alpha(judgements[[experts.index(expert) for expert in pair]]) for pair in combinations(experts, 2)}
    return {
        "queries": len(queries),
        "answered": sum(bool(given) for given in readings.values()),
        "alpha": _rounded(alpha(judgements)),
        "iou": _mean([overlap for found in overlaps.values() for overlap in found]),
        "experts": {
            expert: {
                "answers": sum(answer.expert == expert for given in readings.values() for answer in given),
                "alpha": _mean([value for pair, value in alphas.items() if expert in pair and value is not None]),
                "iou": _mean([value for pair, found in overlaps.items() if expert in pair for value in found]),
                **_on_gold(queries, readings, gold, expert),
            }
            for expert in experts
        },
    }


def words(found: dict[str, Any]) -> str:
    """The report in a line each: the round's, and every expert's."""
    lines = [f"{found['answered']} of {found['queries']} queries answered{_agreement(found)}"]
    for expert, own in found["experts"].items():
        right = "" if own["accuracy"] is None else f", right on {own['accuracy']:.0%} of {own['gold']} known queries"
        lines.append(f"  {expert}: answers to {own['answers']}{_agreement(own)}{right}")
    return "\n".join(lines)


def alpha(judgements: npt.NDArray[np.floating[Any]]) -> float | None:
    """Krippendorff's alpha for nominal data (experts, units), NaN where an expert did not judge a unit.

    1: they always agree; 0: as often as by chance. None where no unit was judged by two experts, or all
    judgements are the same, so that there is no chance to agree better than by.
    """
    shared = judgements[:, (~np.isnan(judgements)).sum(axis=0) >= 2]
    if len(np.unique(shared[~np.isnan(shared)])) < 2:
        return None
    import krippendorff

    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal"))


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks; 1 if both are empty, for then they say the same."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _judgements(
    queries: dict[str, Query], readings: dict[str, list[Answer]], experts: list[str]
) -> npt.NDArray[np.float64]:
    """(experts, proposals of all queries): 1 marked, 0 not, NaN not answered."""
    blocks = [np.zeros((len(experts), 0))]
    for key, query in queries.items():
        block = np.full((len(experts), len(query.proposals)), np.nan)
        for answer in readings[key]:
            block[experts.index(answer.expert)] = judged(query, answer)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _overlaps(queries: dict[str, Query], readings: dict[str, list[Answer]]) -> dict[tuple[str, str], list[float]]:
    """For each pair of experts, in order, their IoU on each query that both answered."""
    found: dict[tuple[str, str], list[float]] = {}
    for key, given in readings.items():
        size = queries[key].width, queries[key].height
        marks = [(answer.expert, regions.mask(answer.result, *size)[0]) for answer in given]
        for (one, marks_one), (other, marks_other) in combinations(marks, 2):
            found.setdefault((one, other), []).append(iou(marks_one, marks_other))
    return found


def _on_gold(
    queries: dict[str, Query], readings: dict[str, list[Answer]], gold: dict[str, Mask], expert: str
) -> dict[str, Any]:
    right = [
        judged(queries[key], answer) == truth
        for key, truth in gold.items()
        for answer in readings[key]
        if answer.expert == expert
    ]
    return {"gold": len(right), "accuracy": _mean(np.concatenate(right).tolist() if right else [])}


def _agreement(found: dict[str, Any]) -> str:
    names = {"alpha": "alpha", "iou": "IoU"}
    return "".join(f", {names[name]} {found[name]:.2f}" for name in names if found[name] is not None)


def _mean(values: list[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
