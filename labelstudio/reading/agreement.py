"""Agreement of a round's experts with each other and with known evidence: the numbers of crowd.json."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.exchange import geometry
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import Answer, Query
from labelstudio.reading import corrections, outlines
from labelstudio.reading.consensus import decision, judged, latest
from labelstudio.reading.marks import disregarded, says_evidence
from labelstudio.reading.verdicts import contradictions, verdict


def report(queries: dict[str, Query], answers: list[Answer], gold: dict[str, Mask]) -> dict[str, Any]:
    """Return one round's agreement, ready for JSON; a value is None where nothing can be compared.

    ``gold`` has, by key, the correct marks (P,) of the proposals of gold queries. ``alpha`` is Krippendorff's alpha
    over proposals. ``iou`` is the intersection over union of two experts' masks, as the mean over queries and pairs of
    experts; see ``compared``. An expert's ``alpha`` and ``iou`` are the means over the expert's pairs. An expert's
    ``accuracy`` is the share of correct judgements on the proposals of gold queries. ``outlines``, where some answers
    were given without outlines, has the expert's agreement with the proposals (``outlines.compared``).
    ``corrections`` has the gestures of the answers (``corrections.report``).
    ``contradictions`` has each answer that contradicts itself, and ``decisions``, if there are any, each decided query
    with what its experts said.
    """
    readings = {key: latest([answer for answer in answers if answer.key == key]) for key in queries}
    experts = sorted({answer.expert for given in readings.values() for answer in given})
    judgements = _judgements(queries, readings, experts)
    overlaps = _overlaps(queries, readings)
    alphas = {pair: alpha(judgements[[experts.index(expert) for expert in pair]]) for pair in combinations(experts, 2)}
    blind = any(answer.blind for given in readings.values() for answer in given)
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
                **_on_gold(queries, readings, gold, expert=expert),
                **(_on_outlines(queries, readings, expert=expert) if blind else {}),
            }
            for expert in experts
        },
        "contradictions": [
            {"expert": answer.expert, "image_id": answer.image_id, "what": what}
            for answer in answers
            if answer.key in queries
            for what in contradictions(answer, queries[answer.key])
        ],
        "corrections": corrections.report(queries, [answer for given in readings.values() for answer in given]),
        **_decisions(queries, answers, readings),
    }


def words(found: dict[str, Any]) -> str:
    """Return the report as text: one line for the round, one for each expert."""
    lines = [f"{found['answered']} of {found['queries']} queries answered{_agreement(found)}"]
    for expert, own in found["experts"].items():
        accuracy = "" if own["accuracy"] is None else f", accuracy {own['accuracy']:.0%} (gold queries: {own['gold']})"
        lines.append(f"  {expert}: {own['answers']} answered{_agreement(own)}{accuracy}{_belief(own)}")
    return "\n".join([*lines, *([f"  {said}"] if (said := corrections.words(found["corrections"])) else [])])


def alpha(judgements: npt.NDArray[np.floating[Any]]) -> float | None:
    """Return Krippendorff's alpha for nominal data (experts, units), with NaN for a unit that an expert did not judge.

    1 means perfect agreement, 0 means agreement by chance. Alpha is None if no unit has two judgements, or if all
    judgements are the same: then chance alone gives perfect agreement.
    """
    shared = judgements[:, (~np.isnan(judgements)).sum(axis=0) >= 2]
    if len(np.unique(shared[~np.isnan(shared)])) < 2:
        return None
    import krippendorff

    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal"))


def iou(one: Mask, other: Mask) -> float:
    """Return the intersection over union of two masks; 1 if both are empty, because empty masks are equal."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _judgements(
    queries: dict[str, Query], readings: dict[str, list[Answer]], experts: list[str]
) -> npt.NDArray[np.float64]:
    """Each expert's judgement of each proposal of all queries (experts, proposals): 1 marked, 0 not, NaN no answer."""
    blocks = [np.zeros((len(experts), 0))]
    for key, query in queries.items():
        block = np.full((len(experts), len(query.proposals)), np.nan)
        for answer in readings[key]:
            block[experts.index(answer.expert)] = judged(query, answer)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _overlaps(queries: dict[str, Query], readings: dict[str, list[Answer]]) -> dict[tuple[str, str], list[float]]:
    """The IoU of each pair of experts, in sorted order, on each query that both answered."""
    found: dict[tuple[str, str], list[float]] = {}
    for key, given in readings.items():
        for one, other in combinations(given, 2):
            found.setdefault((one.expert, other.expert), []).append(iou(*compared(queries[key], one, other)))
    return found


def compared(query: Query, one: Answer, other: Answer) -> tuple[Mask, Mask]:
    """Return the masks (height, width) of two experts where both of them have judged the image.

    An expert who says where the evidence is judges every pixel. Any other expert judges the shown regions, and the
    regions that this expert draws.
    """
    masks = [disregarded(answer.result, query.width, query.height)[0] for answer in (one, other)]
    evidence = [says_evidence(answer, query) for answer in (one, other)]
    if evidence[0] != evidence[1]:
        seen = (geometry.owners(query) >= 0) | masks[evidence.index(False)]
        masks = [mask & seen for mask in masks]
    return masks[0], masks[1]


def _on_gold(
    queries: dict[str, Query], readings: dict[str, list[Answer]], gold: dict[str, Mask], *, expert: str
) -> dict[str, Any]:
    correct = [
        judged(queries[key], answer) == truth
        for key, truth in gold.items()
        for answer in readings[key]
        if answer.expert == expert
    ]
    return {"gold": len(correct), "accuracy": _mean(np.concatenate(correct).tolist() if correct else [])}


def _on_outlines(queries: dict[str, Query], readings: dict[str, list[Answer]], *, expert: str) -> dict[str, Any]:
    own = [answer for given in readings.values() for answer in given if answer.expert == expert]
    found = outlines.shares(queries, own)
    return {"outlines": outlines.compared(found["with"], found["without"])}


def _decisions(
    queries: dict[str, Query], answers: list[Answer], readings: dict[str, list[Answer]]
) -> dict[str, list[dict[str, Any]]]:
    found = []
    for key, query in queries.items():
        if last := decision([answer for answer in answers if answer.key == key]):
            said = {answer.expert: verdict(answer, query).value for answer in readings[key]}
            decided = verdict(last, query).value
            found.append({"image_id": query.image_id, "said": said, "by": last.expert, "decision": decided})
    return {"decisions": found} if found else {}


def _belief(own: dict[str, Any]) -> str:
    """How much one expert agrees with the model's proposals, if some came without outlines."""
    found = own.get("outlines", {})
    parts = [f"{name} outlines {said}" for name in ("with", "without") if (said := outlines.words(found.get(name)))]
    return f"; agrees with the proposals {', '.join(parts)}" if parts else ""


def _agreement(found: dict[str, Any]) -> str:
    names = {"alpha": "alpha", "iou": "IoU"}
    return "".join(f", {names[name]} {found[name]:.2f}" for name in names if found[name] is not None)


def _mean(values: list[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
