"""Label Studio's regions ↔ boolean masks: pure geometry.

Label Studio measures in percent of the image's width and height, with x to the right and y
down from the top left corner, and rotates clockwise in degrees: rectangles about their top
left corner, ellipses about their centre. A pixel belongs to a region when the pixel's centre
lies in it, so a rectangle on pixel borders covers exactly its pixels, and what hangs over
the image's edge is cut off.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.records import Query

LOOKS = "Model looks here"
DISREGARD = "Disregard"
CONTROL = "regions"  # these two are the tags' names in config.xml
IMAGE = "image"
LABELLED = ("rectanglelabels", "ellipselabels", "polygonlabels")

Mask = npt.NDArray[np.bool_]
Region = dict[str, Any]


def to_result(query: Query) -> list[Region]:
    """The query's proposals as Label Studio's regions, all labelled "Model looks here"."""
    return [
        {
            "id": proposal.id,
            "type": "rectanglelabels",
            "from_name": CONTROL,
            "to_name": IMAGE,
            "original_width": query.width,
            "original_height": query.height,
            "image_rotation": 0,
            "score": proposal.score,
            "value": {
                "x": 100 * proposal.x / query.width,
                "y": 100 * proposal.y / query.height,
                "width": 100 * proposal.width / query.width,
                "height": 100 * proposal.height / query.height,
                "rotation": 0,
                "rectanglelabels": [LOOKS],
            },
        }
        for proposal in query.proposals
    ]


def relabelled(region: Region, label: str) -> Region:
    """The region as Label Studio stores it once an expert has given it another label."""
    kind = region["type"]
    return {**region, "origin": "prediction-changed", "value": {**region["value"], kind: [label]}}


def marked(result: list[Region]) -> set[str]:
    """Ids of the proposals that an expert marked; regions the expert drew are left out."""
    return {
        str(region.get("id"))
        for region in result
        if isinstance(region, dict) and DISREGARD in _labels(region) and region.get("origin") != "manual"
    }


def mask(result: list[Region], width: int, height: int, label: str = DISREGARD) -> tuple[Mask, list[str]]:
    """Everything in ``result`` with this label, as a (height, width) mask in pixels.

    Also returns one line for each region that could not be used (unknown type, unknown
    label, broken numbers), naming it and why; the other regions still count.
    """
    total = np.zeros((height, width), dtype=bool)
    unused: list[str] = []
    for region in result:
        try:
            if label in _known_labels(region):
                total |= area(region, width, height)
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
    raise ValueError(f"type {region['type']!r} is not supported")


def _polygon(points: list[tuple[float, float]], x: Mask, y: Mask) -> Mask:
    """Even-odd rule: inside when a ray to the left crosses the outline an odd number of times."""
    inside = np.zeros((y.shape[0], x.shape[1]), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:  # a ray along y never crosses it
            continue
        crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
        inside ^= crosses & (x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def _turned(dx: Any, dy: Any, value: dict[str, Any]) -> tuple[Any, Any]:
    """Offsets in pixels seen along the region's own sides, undoing its clockwise rotation."""
    angle = math.radians(_number(value.get("rotation") or 0))
    if angle == 0:  # no rounding for what was never turned
        return dx, dy
    return dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)


def _labels(region: Region) -> list[Any]:
    value = region.get("value")
    labels = value.get(str(region.get("type"))) if isinstance(value, dict) else None
    return labels if isinstance(labels, list) else []


def _known_labels(region: Region) -> list[Any]:
    if region["type"] not in LABELLED:
        raise ValueError(f"type {region['type']!r} is not supported")
    labels = _labels(region)
    unknown = [label for label in labels if label not in (LOOKS, DISREGARD)]
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
