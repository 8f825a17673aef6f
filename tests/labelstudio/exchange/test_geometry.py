"""Shapes → masks, to the pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.regions import box, boxes, brush, rectangle, region
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.exchange import geometry, regions
from labelstudio.exchange.geometry import UnusableRegionError, area, ellipse_around, outline
from labelstudio.exchange.records import Proposal


@given(boxes(), st.floats(-1e-9, 1e-9))
def test_rounding_in_the_browser_does_not_move_a_pixel(numbers, error):
    width, height, x, y, across, down = numbers
    percent = [100 * x / width, 100 * y / height, 100 * across / width, 100 * down / height]
    mask, _ = regions.mask([rectangle(*(value + error for value in percent))], width, height)
    np.testing.assert_array_equal(mask, box(*numbers))


@st.composite
def polygons(draw):
    """An image's size and corners on half pixels in it."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    corner = st.tuples(st.integers(0, 2 * width), st.integers(0, 2 * height))
    return width, height, [(x / 2, y / 2) for x, y in draw(st.lists(corner, min_size=3, max_size=8))]


@given(polygons(), st.integers(0, 2**32 - 1))
def test_rounding_in_the_browser_does_not_move_a_pixel_of_a_polygon(numbers, seed):
    width, height, corners = numbers
    proposal = Proposal("p", 0, 0, width, height, 0.1, tuple(corners))
    errors = np.random.default_rng(seed).uniform(-1e-9, 1e-9, (len(corners), 2))
    points = [[100 * x / width + dx, 100 * y / height + dy] for (x, y), (dx, dy) in zip(corners, errors, strict=True)]
    mask, _ = regions.mask([region("polygon", {"points": points})], width, height)
    np.testing.assert_array_equal(mask, geometry.pixels(proposal, width, height))


@given(boxes(), st.sampled_from([0, 90, 180, 270, 360, -90]))
def test_quarter_turns_about_the_top_left_corner(numbers, angle):
    width, height, x, y, across, down = numbers
    # Where the corner must be so that the turned rectangle covers the box again.
    corner = {0: (x, y), 90: (x + across, y), 180: (x + across, y + down), 270: (x, y + down)}[angle % 360]
    if angle % 180:
        across, down = down, across
    value = 100 * corner[0] / width, 100 * corner[1] / height, 100 * across / width, 100 * down / height
    mask, _ = regions.mask([rectangle(*value, rotation=angle)], width, height)
    np.testing.assert_array_equal(mask, box(*numbers))


def test_rotation_is_clockwise_in_pixels_even_when_the_image_is_not_square():
    # A bar of 40×2 pixels from (50, 10), turned by 30°, in an image of 200×100.
    mask, _ = regions.mask([rectangle(25, 10, 20, 2, rotation=30)], 200, 100)
    rows, columns = np.nonzero(mask)
    assert mask.sum() == pytest.approx(80, abs=6)
    slope = np.polyfit(columns, rows, 1)[0]
    assert slope == pytest.approx(math.tan(math.radians(30)), abs=0.02)
    assert columns.max() == pytest.approx(50 + 40 * math.cos(math.radians(30)), abs=2)


@given(boxes())
def test_a_polygon_of_a_rectangles_corners_is_that_rectangle(numbers):
    width, height, x, y, across, down = numbers
    corners = [(x, y), (x + across, y), (x + across, y + down), (x, y + down)]
    points = [[100 * cx / width, 100 * cy / height] for cx, cy in corners]
    mask, _ = regions.mask([region("polygon", {"points": points})], width, height)
    np.testing.assert_array_equal(mask, box(*numbers))


def test_a_polygon_may_be_concave():
    points = [[0, 0], [100, 0], [100, 100], [50, 50], [0, 100]]
    mask, _ = regions.mask([region("polygon", {"points": points})], 100, 100)
    assert mask[90, 5]
    assert mask[90, 95]
    assert not mask[90, 50]
    assert mask.sum() == pytest.approx(7500, rel=0.02)


@pytest.mark.parametrize("rotation", [0, 35, 90])
def test_an_ellipse_has_its_area_and_centre(rotation):
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 15, "rotation": rotation}
    mask, _ = regions.mask([region("ellipse", value)], 200, 100)
    rows, columns = np.nonzero(mask)
    assert mask.sum() == pytest.approx(math.pi * 40 * 15, rel=0.01)
    assert (rows.mean(), columns.mean()) == pytest.approx((49.5, 99.5), abs=0.1)
    width = np.ptp(columns) + 1
    expected = 2 * math.hypot(40 * math.cos(math.radians(rotation)), 15 * math.sin(math.radians(rotation)))
    assert width == pytest.approx(expected, abs=2)


def test_the_edge_cuts_off_the_parts_of_a_region_outside_the_image():
    mask, unused = regions.mask([rectangle(-50, -50, 100, 100), rectangle(90, 90, 500, 5)], 10, 10)
    expected = box(10, 10, 0, 0, 5, 5) | box(10, 10, 9, 9, 1, 1)
    expected[9, 9] = False  # only its upper half is covered, and its centre lies on the border
    np.testing.assert_array_equal(mask, expected)
    assert unused == ["region r: covers no pixel of the image"]


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (40, 64)])
def test_a_brush_stroke_is_the_pixels_it_painted(shape):
    painted = np.random.default_rng(0).random(shape) < 0.3
    mask, unused = regions.mask([brush(painted)], *shape[::-1])
    np.testing.assert_array_equal(mask, painted)
    assert unused == ([] if painted.any() else ["region r: covers no pixel of the image"])


def test_a_brush_stroke_on_a_picture_of_another_size_is_scaled():
    painted = np.zeros((4, 6), bool)
    painted[1, 2:4] = True
    mask, _ = regions.mask([brush(painted)], 12, 8)
    np.testing.assert_array_equal(mask, box(12, 8, 4, 2, 4, 2))
    np.testing.assert_array_equal(regions.mask([brush(mask)], 6, 4)[0], painted)


@given(boxes())
def test_a_proposals_outline_covers_exactly_its_pixels(numbers):
    width, height, *rectangle = numbers
    shape, value = outline(Proposal("p", *rectangle, 0.1), width, height)
    assert shape == "rectangle"
    np.testing.assert_array_equal(area({"type": shape, "value": value}, width, height), box(*numbers))


@pytest.mark.parametrize(
    ("shape", "value", "reason"),
    [
        ("keypoint", {}, "type 'keypoint' is not supported"),
        ("rectangle", {"x": "wide", "y": 0}, "'wide' is not a finite number"),
        ("rectangle", {"x": 10**400, "y": 0}, "is not a finite number"),
        ("polygon", {"points": [[0, 0], [1, 2, 3]]}, r"\[1, 2, 3\] is not a corner \(x, y\)"),
    ],
)
def test_a_region_without_pixels_says_why(shape, value, reason):
    with pytest.raises(UnusableRegionError, match=reason) as raised:
        area({"type": shape, "value": value}, 10, 10)
    assert len(str(raised.value)) < 100, "long values are shortened"


@given(st.lists(boxes(), min_size=1, max_size=3))
def test_an_ellipse_around_an_area_misses_no_pixel(parts):
    width, height = max(part[0] for part in parts), max(part[1] for part in parts)
    inside = np.zeros((height, width), bool)
    for _, _, x, y, across, down in parts:
        inside[y : y + down, x : x + across] = True
    ellipse = area({"type": "ellipse", "value": ellipse_around(inside)}, width, height)
    assert not (inside & ~ellipse).any()


def test_an_ellipse_around_an_ellipse_is_hardly_larger():
    value = {"x": 40, "y": 60, "radiusX": 25, "radiusY": 12, "rotation": 30}
    inside = area({"type": "ellipse", "value": value}, 200, 100)
    found = area({"type": "ellipse", "value": ellipse_around(inside)}, 200, 100)
    assert inside.sum() < found.sum() < 1.12 * inside.sum()
