"""Corrections: what experts made of pre-filled marks, and the clicks and keys that their answers took."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from labelstudio.exchange import regions
from labelstudio.exchange.geometry import Region
from labelstudio.exchange.records import Answer, Query
from labelstudio.exchange.regions import DISREGARD, EVIDENCE, has_label, is_prefilled
from labelstudio.reading.marks import marked, reasons
from labelstudio.reading.verdicts import removed

SEEN = ("prediction", "manual")  # origins of regions that came with the query and stay, or that the expert drew


@dataclass(frozen=True)
class Corrections:
    """One answer beside the marks that the query came with, and its gestures.

    Attributes:
        confirmed: The number of pre-filled marks that the expert left.
        rejected: The number of pre-filled marks that the expert took back.
        added: The number of marks that the expert added: on a proposal, or by drawing.
        clicks: The number of clicks, and of drags of the mouse.
        keys: The number of keys.
    """

    confirmed: int
    rejected: int
    added: int
    clicks: int
    keys: int


def corrections(answer: Answer, query: Query) -> Corrections:
    """Compare an answer with the query as it was shown.

    The gestures are the fewest that lead from the query to the answer, besides submitting, if each region is changed
    by itself: a click and a key change a region; two keys and a drag, or a click for each corner of a polygon, draw
    one; a key makes a choice, or gives a reason. Who takes many regions into one frame needs fewer.
    """
    said = [region for region in regions.said(answer.result) if isinstance(region, dict)]
    disregarded = marked(answer.result)
    shown = [] if answer.blind else [proposal.id for proposal in query.proposals if proposal.prefilled]
    confirmed = {str(region.get("id")) for region in disregarded if is_prefilled(region)} & set(shown)
    drawn = [region for region in said if region.get("origin") == "manual" and has_label(region, [DISREGARD, EVIDENCE])]
    touched = [region for region in said if region.get("origin") not in SEEN and _is_changed(region)]
    changes = len(touched) + removed(answer, query)
    return Corrections(
        confirmed=len(confirmed),
        rejected=len(shown) - len(confirmed),
        added=sum(not is_prefilled(region) for region in disregarded),
        clicks=changes + sum(_clicks(region) for region in drawn),
        keys=changes + 2 * len(drawn) + len(regions.chosen(answer.result)) + len(reasons(answer.result)),
    )


def report(queries: dict[str, Query], answers: list[Answer]) -> dict[str, Any]:
    """Return a round's corrections and gestures, ready for JSON; a value is None where there is nothing to measure.

    ``precision`` is the share of the pre-filled marks that experts left. ``clicks`` and ``keys`` are means of an
    answer, ``seconds`` is the median.

    Args:
        queries: The round's queries by key.
        answers: The last answer of each expert to each query; skips are no answers.
    """
    found = [corrections(answer, queries[answer.key]) for answer in answers]
    seconds = [answer.lead_time for answer in answers if answer.lead_time is not None]
    confirmed, rejected = sum(one.confirmed for one in found), sum(one.rejected for one in found)
    return {
        "answers": len(found),
        "confirmed": confirmed,
        "rejected": rejected,
        "added": sum(one.added for one in found),
        "precision": round(confirmed / (confirmed + rejected), 4) if confirmed + rejected else None,
        "clicks": round(statistics.fmean(one.clicks for one in found), 2) if found else None,
        "keys": round(statistics.fmean(one.keys for one in found), 2) if found else None,
        "seconds": round(statistics.median(seconds), 1) if seconds else None,
    }


def words(found: dict[str, Any]) -> str:
    """Return the report in one line; empty without an answer."""
    if not found["answers"]:
        return ""
    marks = f"{found['added']} marks added"
    if found["precision"] is not None:
        marks = f"{found['confirmed']} pre-filled marks confirmed, {found['rejected']} taken back, {marks}"
    return f"{marks}; {found['clicks']:.1f} clicks and {found['keys']:.1f} keys an answer"


def _is_changed(region: Region) -> bool:
    """Return True if the expert changed the labels of a region that the query came with."""
    return has_label(region, [EVIDENCE]) or has_label(region, [DISREGARD]) != is_prefilled(region)


def _clicks(region: Region) -> int:
    """Return the clicks of a drawn region: one drag; of a polygon its corners, and the first corner again."""
    points = region["value"].get("points")
    return len(points) + 1 if isinstance(points, list) else 1
