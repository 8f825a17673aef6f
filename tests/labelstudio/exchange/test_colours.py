"""The colours of the labelling page: people with each kind of colour blindness tell the labels apart."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from labelstudio.client.projects import INTERFACE

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
WHITE = np.array([0.9505, 1.0, 1.0888])
APART = 25  # CIE 1976 colour difference; 2 can just be seen


def lab(colour: str, vision: str) -> np.ndarray:
    """A colour in CIELAB, as people with this vision see it."""
    srgb = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear, 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def styles() -> dict[str, tuple[str, str]]:
    """The colour and the line width of each label."""
    return {
        label.get("value", ""): (label.get("background", ""), labels.get("strokeWidth", ""))
        for labels in ElementTree.fromstring(INTERFACE).iter("Labels")
        for label in labels.iter("Label")
    }


@pytest.mark.parametrize("vision", VISION)
def test_two_labels_differ_in_colour_or_in_line_width(vision):
    found = styles()
    assert len(found) == 5
    for (one, (colour, width)), (other, (its_colour, its_width)) in combinations(found.items(), 2):
        difference = float(np.linalg.norm(lab(colour, vision) - lab(its_colour, vision)))
        assert difference >= APART or width != its_width, (one, other, difference)
