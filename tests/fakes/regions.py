"""Regions of answers as Label Studio stores them, and queries that ask for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from labelstudio.exchange import regions
from labelstudio.exchange.records import Proposal, Query


def query(width: int, height: int, *proposals: Proposal) -> Query:
    return Query("i", "i.png", "d", width, height, "8", "3", {"8": 1.0}, 0.5, proposals)


# One region of each shape and its measures, in percent.
EXAMPLES = [
    ("rectangle", {"x": 0, "y": 10, "width": 50, "height": 30, "rotation": 0}),
    ("ellipse", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 45}),
    ("polygon", {"points": [[0, 0], [70, 10], [30, 90]], "closed": True}),
]


def rectangle(x: float, y: float, width: float, height: float, rotation: float = 0, **more) -> dict:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return region("rectangle", value, **more)


def region(shape: str, value: dict, label: str = regions.DISREGARD, **more) -> dict:
    kind = f"{shape}labels"
    return {"id": "r", "type": kind, "value": {**value, kind: [label]}, **more}


def box(width: int, height: int, x: int, y: int, across: int, down: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[y : y + down, x : x + across] = True
    return mask


def brush(painted: np.ndarray, **more) -> dict:
    """Return the region that the page submits for these painted pixels (height, width)."""
    from label_studio_sdk.converter.brush import encode_rle

    rgba = np.where(painted[..., None], np.array([229, 0, 125, 255]), 0).astype(np.uint8)
    value = {"format": "rle", "rle": encode_rle(rgba.ravel())}
    height, width = painted.shape
    return region("brush", value, original_width=width, original_height=height, **more)


def submitted(shape: str, value: dict, *labels: str, id: str = "r") -> list[dict]:
    both = {"id": id, "to_name": "image", "original_width": 10, "original_height": 10, "origin": "manual"}
    entries = [{**both, "type": shape, "from_name": shape, "value": value}]
    if labels:
        entries.append({**both, "type": "labels", "from_name": "regions", "value": {**value, "labels": [*labels]}})
    return entries


@st.composite
def boxes(draw):
    """An image's size and a rectangle of whole pixels in it."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
