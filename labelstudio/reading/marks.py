"""Marks: where the model must not look by one answer, and marks that contradict each other.

An expert marks regions that must not matter ("Disregard"), or says where the evidence is, or both. An answer that says
where the evidence is says of everything else on the image that it must not matter. So evidence has priority over
"Disregard", and such an answer judges every pixel, not only the shown regions.
"""

from __future__ import annotations

from labelstudio.exchange import regions
from labelstudio.exchange.geometry import Mask, Region
from labelstudio.exchange.records import Answer, Query
from labelstudio.exchange.regions import BEFORE, DISREGARD, EVIDENCE, has_label, union


def disregarded(result: list[Region], width: int, height: int) -> tuple[Mask, list[str]]:
    """Return where the model must not look by one answer, and a reason for each region that cannot be used.

    Args:
        result: The regions of the answer.
        width: Width of the query's picture, in pixels.
        height: Height of the query's picture, in pixels.

    Returns:
        The mask (height, width): with evidence everything else, without it the regions marked "Disregard". And the
        reasons, as of ``regions.mask``.
    """
    found, unused = regions.areas(result, width, height, labels=[DISREGARD, EVIDENCE])
    evidence = [area for region, area in found if has_label(region, [EVIDENCE])]
    marked = [area for _, area in found]
    return (~union(evidence, width, height) if evidence else union(marked, width, height)), unused


def says_evidence(answer: Answer, query: Query) -> bool:
    """Return True if the answer says where the evidence is, with at least one usable region."""
    return bool(regions.areas(answer.result, query.width, query.height, labels=[EVIDENCE])[0])


def both_ways(answer: Answer, query: Query) -> list[str]:
    """Return a message for each region marked "Disregard", now or in an earlier round, and marked as evidence too.

    Two regions contradict each other where they share more than half of the smaller region. A smaller overlap is no
    contradiction, because a shape around the evidence cuts through cells.
    """
    found, _ = regions.areas(answer.result, query.width, query.height, labels=[DISREGARD, BEFORE, EVIDENCE])
    evidence = [area for region, area in found if has_label(region, [EVIDENCE])]
    messages = []
    for region, marked in found:
        if any(2 * (marked & area).sum() > min(marked.sum(), area.sum()) for area in evidence):
            name = region.get("id", "?")
            if regions.is_untouched(region):
                continue  # no expert has marked it
            if has_label(region, [DISREGARD]):
                messages.append(f'region {name} is marked both "{DISREGARD}" and "{EVIDENCE}": the evidence counts')
            elif has_label(region, [BEFORE]):
                messages.append(f'region {name}, marked in an earlier round, is now "{EVIDENCE}": the evidence counts')
    return messages


def marked(result: list[Region]) -> list[Region]:
    """Return the regions with the label "Disregard", each with its shape and labels as one entry."""
    return [region for region in regions.said(result) if isinstance(region, dict) and has_label(region, [DISREGARD])]


def reasons(result: list[Region]) -> dict[str, str]:
    """Return the reason of each region with the label "Disregard" that has one, by the region's id."""
    names = {str(region.get("id")) for region in marked(result)}
    return {name: word for name, word in _reasons(result).items() if name in names}


def idle_reasons(result: list[Region]) -> list[str]:
    """Return a message for each region that has a reason and is not marked: a reason alone marks nothing."""
    used = reasons(result)
    return [
        f'region {name} has the reason "{word}" without "{DISREGARD}": it is not marked'
        for name, word in _reasons(result).items()
        if name not in used
    ]


def _reasons(result: list[Region]) -> dict[str, str]:
    """Return each region's reason by its id, whether or not the region is marked; damaged entries give none."""
    given = {str(entry.get("id")): _word(entry) for entry in result if regions.is_reason(entry)}
    return {name: word for name, word in given.items() if word}


def _word(entry: Region) -> str:
    value = entry.get("value")
    found = value.get("choices") if isinstance(value, dict) else None
    return found[0] if isinstance(found, list) and found and isinstance(found[0], str) else ""
