"""Label Studio's regions ↔ boolean masks: pure geometry, for shapes and brush strokes alike.

Label Studio measures in percent of the image's width and height, with x to the right and y
down from the top left corner, and rotates clockwise in degrees: rectangles about their top
left corner, ellipses about their centre. A pixel belongs to a region when the pixel's centre
lies in it, so a rectangle on pixel borders covers exactly its pixels, and what hangs over
the image's edge is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.exchange.records import AnnotationError, Proposal, Query

LOOKS = "Model looks here"
DISREGARD = "Disregard"
BEFORE = "Disregarded before"
NOTHING = "Nothing to disregard"
CANNOT_JUDGE = "Cannot judge"
LABELS, EARLIER = "regions", "earlier"  # these, CHOICES, the names of the shapes and IMAGE are the tags' names in
CHOICES = "verdict"  # config.xml
SHAPES = ("rectangle", "ellipse", "polygon", "brush")
IMAGE = "image"
TIE = (1e-5, 1.618e-5)  # pixels; see _polygon

Mask = npt.NDArray[np.bool_]
Region = dict[str, Any]


def to_result(query: Query) -> list[Region]:
    """The query's proposals as Label Studio's regions, all labelled "Model looks here".

    Each is two entries of the same id, its shape and its label, as the labelling page submits them. What
    was disregarded in earlier rounds comes along, as "Disregarded before", and cannot be changed. Raises
    AnnotationError for one that reaches beyond the picture: Label Studio takes it, and nobody could mark it.
    """
    size = query.width, query.height
    for proposal in (*query.proposals, *query.earlier):
        if not all(0 <= x <= query.width and 0 <= y <= query.height for x, y in proposal.corners()):
            raise AnnotationError(
                f"image {query.image_id} cannot be shown: its region {proposal.id} reaches beyond its "
                f"{query.width} x {query.height} pixels; run `dvc repro` to ask about it anew"
            )
    earlier = [{**entry, "readonly": True} for proposal in query.earlier for entry in _entries(proposal, *size, BEFORE)]
    return earlier + [entry for proposal in query.proposals for entry in _entries(proposal, *size, LOOKS)]


def _entries(proposal: Proposal, width: int, height: int, label: str = LOOKS) -> list[Region]:
    if proposal.points:
        shape = "polygon"
        points = [[100 * x / width, 100 * y / height] for x, y in proposal.points]
        value: dict[str, Any] = {"points": points, "closed": True}
    else:
        shape = "rectangle"
        value = {
            "x": 100 * proposal.x / width,
            "y": 100 * proposal.y / height,
            "width": 100 * proposal.width / width,
            "height": 100 * proposal.height / height,
            "rotation": 0,
        }
    tag = EARLIER if label == BEFORE else LABELS
    both = {
        "id": proposal.id,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": proposal.score,
    }
    return [
        {**both, "type": shape, "from_name": shape, "value": value},
        {**both, "type": "labels", "from_name": tag, "value": {**value, "labels": [label]}},
    ]


def pixels(proposal: Proposal, width: int, height: int) -> Mask:
    """The proposal's pixels on a (height, width) picture: the same that an answer about it would mark."""
    return area(_entries(proposal, width, height)[0], width, height)


def is_irrelevant(region: Mask, evidence: Mask, threshold: float) -> bool:
    """Whether less than ``threshold`` of the region's pixels is evidence: whoever knows, disregards it."""
    return bool(region.any()) and float(evidence[region].mean()) < threshold


def owners(query: Query) -> npt.NDArray[np.int_]:
    """(height, width): the position of the proposal that each pixel belongs to, -1 where there is none.

    Proposals do not overlap. So a pixel of a mask is traced to ``query.proposals[owners[y, x]]``,
    and one without an owner was drawn by an expert.
    """
    owner = np.full((query.height, query.width), -1)
    for position, proposal in enumerate(query.proposals):
        owner[pixels(proposal, query.width, query.height)] = position
    return owner


def relabelled(result: list[Region], ids: Container[str], label: str) -> list[Region]:
    """What Label Studio stores once an expert has given these regions of a prediction a further label."""
    return [_relabelled(entry, label) if entry["id"] in ids else {**entry, "origin": "prediction"} for entry in result]


def _relabelled(entry: Region, label: str) -> Region:
    value = entry["value"]
    if entry["type"] == "labels":
        value = {**value, "labels": [label, *(other for other in value["labels"] if other != label)]}
    return {**entry, "origin": "prediction-changed", "value": value}


def chosen(result: list[Region]) -> set[str]:
    """What the expert chose about the image as a whole: NOTHING, CANNOT_JUDGE, both (by hand) or neither."""
    return {choice for entry in result for choice in _choices(entry)}


def joined(result: list[Region]) -> list[Region]:
    """Each shape with its labels in one entry, as from Label Studio's tags of a shape and labels in one.

    That is how answers came before there was a choice of shapes, and such entries stay as they are.
    """
    labels = {str(entry["id"]): _labels(entry) for entry in result if _kind(entry) == "labels" and "id" in entry}
    shapes = {str(entry["id"]) for entry in result if _kind(entry) in SHAPES and "id" in entry}
    regions = []
    for entry in result:
        kind = _kind(entry)
        if kind in SHAPES and isinstance(entry.get("value"), dict):
            value = {**entry["value"], f"{kind}labels": labels.get(str(entry.get("id")), [])}
            regions.append({**entry, "type": f"{kind}labels", "value": value})
        elif kind != "labels" or str(entry.get("id")) not in shapes:
            regions.append(entry)
    return regions


def marked(result: list[Region]) -> set[str]:
    """Ids of the proposals that an expert marked; regions the expert drew are left out."""
    return {
        str(region.get("id"))
        for region in joined(result)
        if isinstance(region, dict) and DISREGARD in _labels(region) and region.get("origin") != "manual"
    }


def has_marks(result: list[Region]) -> bool:
    """Whether anything is marked, be it a proposal or drawn by the expert."""
    return any(isinstance(region, dict) and DISREGARD in _labels(region) for region in joined(result))


def mask(result: list[Region], width: int, height: int, label: str = DISREGARD) -> tuple[Mask, list[str]]:
    """Everything in ``result`` with this label, as a (height, width) mask in pixels.

    Also returns one line for each region that could not be used (unknown type, unknown
    label, broken numbers, no pixel in it), naming it and why; the other regions still count.
    """
    total = np.zeros((height, width), dtype=bool)
    unused: list[str] = []
    for region in joined(result):
        if _choices(region):
            continue
        try:
            if label in _known_labels(region):
                its = area(region, width, height)
                if not its.any():
                    raise ValueError("covers no pixel of the image")
                total |= its
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            name = region.get("id", "?") if isinstance(region, dict) else "?"
            unused.append(f"region {name}: {_reason(error)}")
    return total, unused


def area(region: Region, width: int, height: int) -> Mask:
    """The region's pixels, whatever its label; raises ValueError or KeyError if it is none."""
    kind = str(region["type"]).removesuffix("labels")
    value = region["value"]
    # Pixel centres; (height, 1) and (1, width), so that shapes broadcast to (height, width).
    y, x = np.ogrid[0.5:height, 0.5:width]
    if kind == "rectangle":
        left, top = _number(value["x"]) * width / 100, _number(value["y"]) * height / 100
        across, down = _turned(x - left, y - top, value)
        inside_x = (across >= 0) & (across < _number(value["width"]) * width / 100)
        return inside_x & (down >= 0) & (down < _number(value["height"]) * height / 100)
    if kind == "ellipse":
        middle_x, middle_y = _number(value["x"]) * width / 100, _number(value["y"]) * height / 100
        across, down = _turned(x - middle_x, y - middle_y, value)
        radius_x, radius_y = _number(value["radiusX"]) * width / 100, _number(value["radiusY"]) * height / 100
        if radius_x <= 0 or radius_y <= 0:
            return np.zeros((height, width), dtype=bool)
        return (across / radius_x) ** 2 + (down / radius_y) ** 2 <= 1
    if kind == "polygon":
        points = [(_number(px) * width / 100, _number(py) * height / 100) for px, py in value["points"]]
        return _polygon(points, x, y)
    if kind == "brush":
        drawn = _brush(value["rle"], int(_number(region["original_width"])), int(_number(region["original_height"])))
        rows, columns = (
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((height, width), drawn.shape, strict=True)
        )
        return drawn[np.ix_(rows, columns)]
    raise ValueError(f"type {region['type']!r} is not supported")


def _polygon(points: list[tuple[float, float]], x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Mask:
    """Even-odd rule: inside when a ray to the left crosses the outline an odd number of times.

    A proposal's corners lie on half pixels, so its sides pass exactly through pixel centres. Which side
    those are on must not hang on the last bit of a percentage: they are looked at a tiny step aside.
    """
    x, y = x + TIE[0], y + TIE[1]
    inside = np.zeros((y.shape[0], x.shape[1]), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:  # a ray along y never crosses it
            continue
        crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
        inside ^= crosses & (x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def _brush(rle: list[int], width: int, height: int) -> Mask:
    """Label Studio's run lengths of a (height, width) picture in RGBA; whatever is not transparent was painted."""
    from label_studio_sdk.converter.brush import decode_rle  # takes seconds: only where somebody used the brush

    packed = bytes(list(rle))
    if min(width, height) <= 0 or int.from_bytes(packed[:4], "big") != 4 * width * height:
        raise ValueError(f"its brush strokes are not on a picture of {width}×{height} pixels")
    try:
        return decode_rle(packed).reshape(height, width, 4)[..., 3] > 0
    except (IndexError, ValueError) as error:
        raise ValueError("its brush strokes are cut off") from error


def _turned(dx: Any, dy: Any, value: dict[str, Any]) -> tuple[Any, Any]:
    """Offsets in pixels seen along the region's own sides, undoing its clockwise rotation."""
    angle = math.radians(_number(value.get("rotation") or 0))
    if angle == 0:  # no rounding for what was never turned
        return dx, dy
    return dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)


def _kind(entry: Any) -> str | None:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return kind if isinstance(kind, str) else None


def _choices(entry: Any) -> list[str]:
    """The entry's choices, if it is one of ours and says nothing else."""
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
        raise ValueError("a label without a shape")
    if str(region["type"]).removesuffix("labels") not in SHAPES:
        raise ValueError(f"type {region['type']!r} is not supported")
    labels = _labels(region)
    unknown = [label for label in labels if label not in (LOOKS, DISREGARD, BEFORE)]
    if BEFORE in labels and not region.get("readonly"):
        raise ValueError(f"{BEFORE!r} is for what was disregarded in an earlier round")
    if unknown or not labels:
        raise ValueError(f"unknown label {unknown[0]!r}" if unknown else "no label")
    return labels


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
