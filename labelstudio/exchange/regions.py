"""Proposals → Label Studio's regions → the mask of an expert's marks: the meaning of the labels of regions.

A region is one entry, or two entries of one id, in the result of a prediction or an answer. Its label says
whether an expert marked it, and how: as something that must not matter, or as the place of the evidence. ``geometry``
has the pixels of its shape.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Container
from typing import Any

import numpy as np

from labelstudio.exchange.geometry import SHAPES, Mask, Region, UnusableRegionError, area, outline, shape_of
from labelstudio.exchange.records import AnnotationError, Proposal, Query

# Values of the labels and choices in config.xml.
LOOKS = "Model looks here"
DISREGARD = "Disregard"
EVIDENCE = "The evidence is here"
PREFILLED = "Marked by the computer"  # beside DISREGARD until an expert takes the mark back
BEFORE = "Disregarded before"
NOTHING = "Nothing to disregard"
CANNOT_JUDGE = "Cannot judge"

ORDER = (EVIDENCE, DISREGARD, LOOKS, PREFILLED)  # in which Label Studio stores the labels of a region that was touched

# Names of the tags in config.xml.
IMAGE = "image"
LABELS = "regions"
EARLIER = "earlier"
CHOICES = "verdict"
REASON = "reason"


def to_result(query: Query) -> list[Region]:
    """Return the query's proposals as Label Studio's regions, labelled "Model looks here", and marked if pre-filled.

    Each region is two entries of one id, its shape and its label, as the labelling page submits them. The marks of
    earlier rounds come first, labelled "Disregarded before" and read-only.

    A blind query has the marks of earlier rounds only.

    A region beyond the picture's edge raises AnnotationError: Label Studio would accept it, but no expert could
    mark it.
    """
    for proposal in (*query.proposals, *query.earlier):
        if not all(0 <= x <= query.width and 0 <= y <= query.height for x, y in proposal.corners()):
            raise AnnotationError(
                f"region {proposal.id} of image {query.image_id} reaches beyond the picture of {query.width} x "
                f"{query.height} pixels. Fix: run `dvc repro` to export this query again."
            )
    earlier = [{**entry, "readonly": True} for proposal in query.earlier for entry in _entries(proposal, query, BEFORE)]
    shown = () if query.blind else query.proposals
    # Label Studio gives a region the colour of its first label, and sorts the labels once the region is touched.
    labels = {True: (PREFILLED, DISREGARD, LOOKS), False: (LOOKS,)}
    return earlier + [entry for one in shown for entry in _entries(one, query, *labels[one.prefilled])]


def _entries(proposal: Proposal, query: Query, *labels: str) -> list[Region]:
    shape, value = outline(proposal, query.width, query.height)
    tag = EARLIER if BEFORE in labels else LABELS
    both = {
        "id": proposal.id,
        "to_name": IMAGE,
        "original_width": query.width,
        "original_height": query.height,
        "image_rotation": 0,
        "score": proposal.score,
    }
    return [
        {**both, "type": shape, "from_name": shape, "value": value},
        {**both, "type": "labels", "from_name": tag, "value": {**value, "labels": [*labels]}},
    ]


def relabelled(result: list[Region], ids: Container[str], label: str) -> list[Region]:
    """Return a prediction's result as Label Studio stores it after an expert pressed this label's key on these regions.

    The key is a switch: it takes the label from a region that has it.
    """
    return [_relabelled(entry, label) if entry["id"] in ids else {**entry, "origin": "prediction"} for entry in result]


def _relabelled(entry: Region, label: str) -> Region:
    value = entry["value"]
    if entry["type"] == "labels":
        value = {**value, "labels": sorted({label} ^ set(value["labels"]), key=(*ORDER, BEFORE).index)}
    return {**entry, "origin": "prediction-changed", "value": value}


def drawn(shape: str, value: dict[str, Any], label: str, *, width: int, height: int) -> list[Region]:
    """Return a region that an expert drew, as Label Studio stores it.

    Args:
        shape: One of SHAPES, which also names the region.
        value: Its measures, in percent of the picture.
        label: Its label.
        width: Width of the query's picture, in pixels.
        height: Height of the query's picture, in pixels.

    Returns:
        Two entries: the shape and its label.
    """
    both = {
        "id": f"drawn-{shape}",
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "origin": "manual",
    }
    return [
        {**both, "type": shape, "from_name": shape, "value": value},
        {**both, "type": "labels", "from_name": LABELS, "value": {**value, "labels": [label]}},
    ]


def choice(word: str) -> Region:
    """Return an expert's choice about the whole image as Label Studio stores it."""
    return {
        "id": CHOICES,
        "type": "choices",
        "from_name": CHOICES,
        "to_name": IMAGE,
        "origin": "manual",
        "value": {"choices": [word]},
    }


def said(result: list[Region]) -> list[Region]:
    """Return each shape with its labels as one entry, as the expert means them.

    An expert who chooses "Nothing to disregard" takes back all pre-filled marks that stay untouched.
    """
    regions = joined(result)
    return (
        [_unmarked(entry) if is_untouched(entry) else entry for entry in regions]
        if NOTHING in chosen(result)
        else regions
    )


def is_prefilled(region: Region) -> bool:
    """Return True if a joined region came marked, whether or not the expert has taken the mark back."""
    return has_label(region, [PREFILLED])


def is_untouched(region: Any) -> bool:
    """Return True for a pre-filled mark of which only the computer has said so far that it must not matter."""
    return isinstance(region, dict) and is_prefilled(region) and region.get("origin") == "prediction"


def _unmarked(region: Region) -> Region:
    kind = str(region["type"])
    return {**region, "value": {**region["value"], kind: [label for label in _labels(region) if label != DISREGARD]}}


def chosen(result: list[Region]) -> set[str]:
    """Return the expert's choices about the whole image: NOTHING, CANNOT_JUDGE, neither, or (edited by hand) both."""
    return {choice for entry in result for choice in _choices(entry)}


def joined(result: list[Region]) -> list[Region]:
    """Return each shape and its labels as one entry; reasons are left out (see ``reading.reasons``).

    Old answers, from a labelling page with rectangles only, have such entries already and stay as they are.
    """
    labels = {str(entry["id"]): _labels(entry) for entry in result if _kind(entry) == "labels" and "id" in entry}
    shapes = {str(entry["id"]) for entry in result if _kind(entry) in SHAPES and "id" in entry}
    regions = []
    for entry in result:
        kind = _kind(entry)
        if kind in SHAPES and isinstance(entry.get("value"), dict):
            value = {**entry["value"], f"{kind}labels": labels.get(str(entry.get("id")), [])}
            regions.append({**entry, "type": f"{kind}labels", "value": value})
        elif not is_reason(entry) and (kind != "labels" or str(entry.get("id")) not in shapes):
            regions.append(entry)
    return regions


def is_reason(entry: Any) -> bool:
    """Return True for an entry that says why a region is marked."""
    return _kind(entry) == "choices" and entry.get("from_name") == REASON


def marked(result: list[Region]) -> set[str]:
    """Return the ids of the proposals that the expert marked, without the regions that the expert drew."""
    return {
        str(region.get("id"))
        for region in said(result)
        if isinstance(region, dict) and DISREGARD in _labels(region) and region.get("origin") != "manual"
    }


def has_marks(result: list[Region], labels: Collection[str] = (DISREGARD, EVIDENCE)) -> bool:
    """Return True if the expert marked a proposal or drew a mark, with one of these labels."""
    return any(isinstance(region, dict) and has_label(region, labels) for region in said(result))


def mask(result: list[Region], width: int, height: int, *, label: str = DISREGARD) -> tuple[Mask, list[str]]:
    """Return the union of all regions with a label, and a reason for each region that cannot be used.

    Args:
        result: The regions of one answer.
        width: Width of the query's picture, in pixels.
        height: Height of the query's picture, in pixels.
        label: The label of the regions wanted.

    Returns:
        The mask (height, width); and one line for each unusable region, with its id and the reason: unknown
        type, unknown label, damaged numbers, or no pixel. All other regions still count.
    """
    found, unused = areas(result, width, height, labels=[label])
    return union([covered for _, covered in found], width, height), unused


def areas(
    result: list[Region], width: int, height: int, *, labels: Collection[str]
) -> tuple[list[tuple[Region, Mask]], list[str]]:
    """Return the usable regions with one of these labels and their pixels, and a reason for each unusable region.

    Args:
        result: The regions of one answer.
        width: Width of the query's picture, in pixels.
        height: Height of the query's picture, in pixels.
        labels: The labels of the regions wanted.

    Returns:
        Each region with its mask (height, width); and the lines of ``mask``.
    """
    found: list[tuple[Region, Mask]] = []
    unused: list[str] = []
    for region in said(result):
        if _choices(region):
            continue
        try:
            if set(labels) & set(_known_labels(region)):
                found.append((region, _covered(region, width, height)))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            name = region.get("id", "?") if isinstance(region, dict) else "?"
            unused.append(f"region {name}: {_reason(error)}")
    return found, unused


def union(masks: list[Mask], width: int, height: int) -> Mask:
    """Return the union (height, width) of some masks."""
    return np.logical_or.reduce([np.zeros((height, width), dtype=bool), *masks])


def has_label(region: Region, labels: Collection[str]) -> bool:
    """Return True if a joined region has one of these labels."""
    return any(label in labels for label in _labels(region))


def _covered(region: Region, width: int, height: int) -> Mask:
    covered = area(region, width, height)
    if not covered.any():
        raise UnusableRegionError("covers no pixel of the image")
    return covered


def _kind(entry: Any) -> str | None:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return kind if isinstance(kind, str) else None


def _choices(entry: Any) -> list[str]:
    """The entry's choices, if it belongs to our tag and has no other choice than ours."""
    if _kind(entry) != "choices" or entry.get("from_name") != CHOICES:
        return []
    choices = _labels(entry)
    return choices if all(choice in (NOTHING, CANNOT_JUDGE) for choice in choices) else []


def _labels(region: Region) -> list[Any]:
    value = region.get("value")
    labels = value.get(str(region.get("type"))) if isinstance(value, dict) else None
    return labels if isinstance(labels, list) else []


def _known_labels(region: Region) -> list[Any]:
    if region["type"] == "labels":
        raise UnusableRegionError("label without a shape")
    shape_of(region)
    labels = _labels(region)
    unknown = [label for label in labels if label not in (*ORDER, BEFORE)]
    if BEFORE in labels and not region.get("readonly"):
        raise UnusableRegionError(f"the label {BEFORE!r} is reserved for marks of earlier rounds")
    if unknown or not labels:
        raise UnusableRegionError(f"unknown label {reprlib.repr(unknown[0])}" if unknown else "no label")
    return labels


def _reason(error: Exception) -> str:
    if isinstance(error, UnusableRegionError):
        return str(error)
    return f"{error} is missing" if isinstance(error, KeyError) else f"damaged entry ({error})"
