"""Label Studio's shapes as pixels: rectangles, ellipses, polygons and brush strokes, independent of their labels.

Label Studio measures in percent of the image's width and height: x to the right, y down, from the top left
corner. It rotates clockwise in degrees: rectangles about their top left corner, ellipses about their centre.
A pixel belongs to a shape when the pixel's centre lies in the shape. So a rectangle on pixel borders covers
exactly its pixels, and parts beyond the image's edge are cut off.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.exchange.records import Proposal, Query

SHAPES = ("rectangle", "ellipse", "polygon", "brush")  # also the names of the shapes' tags in config.xml
MARGIN = 1.02  # of an ellipse around an area, so that rounding cuts no pixel off
TIE = (1e-5, 1.618e-5)  # pixels; see _polygon

Mask = npt.NDArray[np.bool_]
Region = dict[str, Any]


class UnusableRegionError(ValueError):
    """A region of an answer cannot be used; the message says why."""


def outline(proposal: Proposal, width: int, height: int) -> tuple[str, dict[str, Any]]:
    """Return the proposal's shape, one of SHAPES, and its measures in percent of a picture of this size in pixels."""
    if proposal.points:
        points = [[100 * x / width, 100 * y / height] for x, y in proposal.points]
        return "polygon", {"points": points, "closed": True}
    return "rectangle", {
        "x": 100 * proposal.x / width,
        "y": 100 * proposal.y / height,
        "width": 100 * proposal.width / width,
        "height": 100 * proposal.height / height,
        "rotation": 0,
    }


def shape_of(region: Region) -> str:
    """Return the region's shape, one of SHAPES, whether its labels are in the same entry or in another."""
    shape = str(region["type"]).removesuffix("labels")
    if shape not in SHAPES:
        raise UnusableRegionError(f"type {reprlib.repr(region['type'])} is not supported")
    return shape


def area(region: Region, width: int, height: int) -> Mask:
    """Return the region's pixels as a (height, width) mask, independent of its label.

    A damaged region raises UnusableRegionError, or a built-in error such as KeyError for missing measures.
    """
    shape, value = shape_of(region), region["value"]
    if shape == "brush":
        painted = _brush(value["rle"], int(_number(region["original_width"])), int(_number(region["original_height"])))
        return _resized(painted, width, height)
    return {"rectangle": _rectangle, "ellipse": _ellipse, "polygon": _polygon}[shape](value, width, height)


def pixels(proposal: Proposal, width: int, height: int) -> Mask:
    """Return the proposal's pixels (height, width), the same that an answer marks with this proposal."""
    shape, value = outline(proposal, width, height)
    return area({"type": shape, "value": value}, width, height)


def is_irrelevant(region: Mask, evidence: Mask, threshold: float) -> bool:
    """Return True if the evidence covers less than ``threshold`` of the region's pixels, so that it must be marked."""
    return bool(region.any()) and float(evidence[region].mean()) < threshold


def owners(query: Query) -> npt.NDArray[np.int_]:
    """Return, for each pixel (height, width), the position of its proposal in ``query.proposals``, or -1.

    Proposals do not overlap. A marked pixel without an owner was drawn by an expert.
    """
    owner = np.full((query.height, query.width), -1)
    for position, proposal in enumerate(query.proposals):
        owner[pixels(proposal, query.width, query.height)] = position
    return owner


def ellipse_around(area: Mask) -> dict[str, Any]:
    """Return the measures of an ellipse around an area (height, width) with at least one pixel.

    It contains every pixel of the area, and has the area's centre, direction and variances. Its measures are rounded:
    the last bits of a float, which differ between machines, stay out of answers.
    """
    height, width = area.shape
    places = np.argwhere(area)[:, ::-1] + 0.5  # x, y
    middle, offsets = places.mean(axis=0), places - places.mean(axis=0)
    variances, axes = np.linalg.eigh(offsets.T @ offsets / len(places) + np.eye(2) / 12)  # with a pixel's own variance
    along = offsets @ axes / np.sqrt(variances)
    radii = MARGIN * max(float(np.hypot(*along.T).max()), 1.0) * np.sqrt(variances)
    angle = math.degrees(math.atan2(axes[1, 0], axes[0, 0])) % 180
    return {
        "x": round(100 * middle[0] / width, 2),
        "y": round(100 * middle[1] / height, 2),
        "radiusX": round(100 * radii[0] / width, 2),
        "radiusY": round(100 * radii[1] / height, 2),
        "rotation": round(angle, 1),
    }


def _rectangle(value: dict[str, Any], width: int, height: int) -> Mask:
    x, y = _centres(width, height)
    left, top = _number(value["x"]) * width / 100, _number(value["y"]) * height / 100
    across, down = _turned(x - left, y - top, value)
    inside_x = (across >= 0) & (across < _number(value["width"]) * width / 100)
    return inside_x & (down >= 0) & (down < _number(value["height"]) * height / 100)


def _ellipse(value: dict[str, Any], width: int, height: int) -> Mask:
    x, y = _centres(width, height)
    middle_x, middle_y = _number(value["x"]) * width / 100, _number(value["y"]) * height / 100
    across, down = _turned(x - middle_x, y - middle_y, value)
    radius_x, radius_y = _number(value["radiusX"]) * width / 100, _number(value["radiusY"]) * height / 100
    if radius_x <= 0 or radius_y <= 0:
        return np.zeros((height, width), dtype=bool)
    return (across / radius_x) ** 2 + (down / radius_y) ** 2 <= 1


def _polygon(value: dict[str, Any], width: int, height: int) -> Mask:
    """Even-odd rule: a point is inside when a ray to its left crosses the outline an odd number of times.

    A proposal's corners lie on half pixels, so its sides pass exactly through pixel centres. The last bit of a
    percentage must not decide on which side these centres lie. So each centre is tested a tiny step aside (TIE).
    """
    x, y = _centres(width, height)
    x, y = x + TIE[0], y + TIE[1]
    points = [_point(corner, width, height) for corner in value["points"]]
    inside = np.zeros((height, width), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:  # a ray along y never crosses it
            continue
        crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
        inside ^= crosses & (x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def _brush(rle: Sequence[int], width: int, height: int) -> Mask:
    """Decode the run lengths of an RGBA picture (height, width); every pixel that is not transparent is painted."""
    from label_studio_sdk.converter.brush import decode_rle  # takes seconds, so only for brush strokes

    packed = bytes(list(rle))
    if min(width, height) <= 0 or int.from_bytes(packed[:4], "big") != 4 * width * height:
        raise UnusableRegionError(f"the brush strokes do not fit a picture of {width}×{height} pixels")
    try:
        return decode_rle(packed).reshape(height, width, 4)[..., 3] > 0
    except (IndexError, ValueError) as error:
        raise UnusableRegionError("the brush strokes are incomplete") from error


def _resized(painted: Mask, width: int, height: int) -> Mask:
    """Each pixel of a (height, width) picture takes the painted picture's pixel at its own centre."""
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((height, width), painted.shape, strict=True)
    )
    return painted[np.ix_(rows, columns)]


def _centres(width: int, height: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pixel centres x (1, width) and y (height, 1), which broadcast to (height, width)."""
    y, x = np.ogrid[0.5:height, 0.5:width]
    return x, y


def _turned(dx: Any, dy: Any, value: dict[str, Any]) -> tuple[Any, Any]:
    """Offsets in pixels along the region's own sides: its clockwise rotation is undone."""
    angle = math.radians(_number(value.get("rotation") or 0))
    if angle == 0:  # no rounding error for an unturned region
        return dx, dy
    return dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)


def _point(corner: Any, width: int, height: int) -> tuple[float, float]:
    if not isinstance(corner, list | tuple) or len(corner) != 2:
        raise UnusableRegionError(f"{reprlib.repr(corner)} is not a corner (x, y)")
    return _number(corner[0]) * width / 100, _number(corner[1]) * height / 100


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UnusableRegionError(f"{reprlib.repr(value)} is not a finite number")
    return number
