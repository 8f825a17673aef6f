"""Regions ↔ masks, to the pixel."""

from __future__ import annotations

import dataclasses
import math
import random
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.exchange import regions
from labelstudio.exchange.records import AnnotationError, Answer, Proposal, Query
from labelstudio.reading.verdicts import Verdict, contradiction, removed, summary, verdict


def query(width: int, height: int, *proposals: Proposal) -> Query:
    return Query("i", "i.png", "d", width, height, "8", "3", {"8": 1.0}, 0.5, proposals)


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


@st.composite
def boxes(draw):
    """An image's size and a rectangle of whole pixels in it."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))


@given(boxes())
def test_a_proposal_comes_back_as_exactly_its_pixels(numbers):
    width, height, *rectangle = numbers
    proposal = Proposal("p", *rectangle, 0.3)
    shown = regions.to_result(query(width, height, proposal))
    marked = regions.relabelled(shown, {"p"}, regions.DISREGARD)
    mask, unused = regions.mask(marked, width, height)
    np.testing.assert_array_equal(mask, box(*numbers))
    np.testing.assert_array_equal(regions.pixels(proposal, width, height), mask)
    assert unused == []
    assert not regions.mask(shown, width, height)[0].any(), "what is not marked is not in the mask"
    np.testing.assert_array_equal(regions.mask(shown, width, height, regions.LOOKS)[0], mask)


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
    np.testing.assert_array_equal(mask, regions.pixels(proposal, width, height))


def test_owners_tell_which_proposal_a_pixel_is_of():
    triangle = Proposal("t", 4, 0, 4, 4, 0.1, ((4.0, 0.0), (8.0, 0.0), (4.0, 4.0)))
    owners = regions.owners(query(8, 4, Proposal("r", 0, 0, 2, 4, 0.2), triangle))
    assert owners.tolist() == [
        [0, 0, -1, -1, 1, 1, 1, -1],
        [0, 0, -1, -1, 1, 1, -1, -1],
        [0, 0, -1, -1, 1, -1, -1, -1],
        [0, 0, -1, -1, -1, -1, -1, -1],
    ]


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


def test_what_hangs_over_the_edge_is_cut_off():
    mask, unused = regions.mask([rectangle(-50, -50, 100, 100), rectangle(90, 90, 500, 5)], 10, 10)
    expected = box(10, 10, 0, 0, 5, 5) | box(10, 10, 9, 9, 1, 1)
    expected[9, 9] = False  # only its upper half is covered, and its centre lies on the border
    np.testing.assert_array_equal(mask, expected)
    assert unused == ["region r: covers no pixel of the image"]


# --- brush strokes ---


def brush(painted: np.ndarray, **more) -> dict:
    """What the page submits for these painted pixels (height, width)."""
    from label_studio_sdk.converter.brush import encode_rle

    rgba = np.where(painted[..., None], np.array([229, 0, 125, 255]), 0).astype(np.uint8)
    value = {"format": "rle", "rle": encode_rle(rgba.ravel())}
    height, width = painted.shape
    return region("brush", value, original_width=width, original_height=height, **more)


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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["value"].update(rle=r["value"]["rle"][:20]), "cut off"),
        (lambda r: r["value"].update(rle=[]), "5×4 pixels"),
        (lambda r: r["value"].update(rle=7), "int"),
        (lambda r: r["value"].update(rle=["a"]), "str"),
        (lambda r: r["value"].update(rle=[256]), "256"),
        (lambda r: r.update(original_width=0), "0×4"),
        (lambda r: r.update(original_height=5), "5×5"),
        (lambda r: r.pop("original_height"), "'original_height' is missing"),
    ],
)
def test_a_damaged_brush_stroke_is_named_and_the_rest_is_used(change, reason):
    painted = np.random.default_rng(0).random((4, 5)) < 0.5
    damaged = brush(painted)
    damaged["id"] = "damaged"
    change(damaged)
    mask, (unused,) = regions.mask([damaged, rectangle(0, 0, 100, 100)], 5, 4)
    assert mask.all()
    assert re.match(f"region damaged: .*{reason}", unused), unused


# --- the page's two entries of a region ---


def submitted(shape: str, value: dict, *labels: str, id: str = "r") -> list[dict]:
    both = {"id": id, "to_name": "image", "original_width": 10, "original_height": 10, "origin": "manual"}
    entries = [{**both, "type": shape, "from_name": shape, "value": value}]
    if labels:
        entries.append({**both, "type": "labels", "from_name": "regions", "value": {**value, "labels": [*labels]}})
    return entries


SHAPES = [
    ("rectangle", {"x": 0, "y": 10, "width": 50, "height": 30, "rotation": 0}),
    ("ellipse", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 45}),
    ("polygon", {"points": [[0, 0], [70, 10], [30, 90]], "closed": True}),
]


@pytest.mark.parametrize(("shape", "value"), SHAPES)
def test_old_answers_of_one_entry_and_new_ones_of_two_are_the_same_mask(shape, value):
    old = region(shape, value)
    mask, unused = regions.mask([old], 10, 10)
    assert mask.any()
    assert unused == []
    new = submitted(shape, value, regions.DISREGARD)
    for entries in (new, new[::-1]):
        assert regions.mask(entries, 10, 10)[1] == []
        np.testing.assert_array_equal(regions.mask(entries, 10, 10)[0], mask)
    assert not regions.mask(submitted(shape, value, regions.LOOKS), 10, 10)[0].any()


def test_a_shape_without_a_label_and_a_label_without_a_shape_are_named():
    shape, value = SHAPES[0]
    unlabelled = submitted(shape, value, id="a")
    shapeless = submitted(shape, value, regions.DISREGARD, id="b")[1:]
    mask, unused = regions.mask(unlabelled + shapeless, 10, 10)
    assert not mask.any()
    assert unused == ["region a: no label", "region b: a label without a shape"]


def test_a_relabelled_prediction_is_what_the_page_submits():
    shown = regions.to_result(query(10, 10, Proposal("p", 0, 0, 5, 5, 0.1), Proposal("q", 5, 5, 5, 5, 0.1)))
    answer = regions.relabelled(shown, {"q"}, regions.DISREGARD)
    assert [(e["id"], e["type"], e["origin"], e["value"].get("labels")) for e in answer] == [
        ("p", "rectangle", "prediction", None),
        ("p", "labels", "prediction", [regions.LOOKS]),
        ("q", "rectangle", "prediction-changed", None),
        ("q", "labels", "prediction-changed", [regions.DISREGARD, regions.LOOKS]),
    ]
    assert [{**e, "origin": None} for e in answer[:2]] == [{**e, "origin": None} for e in shown[:2]]


def test_what_cannot_be_used_is_named_with_its_reason_and_the_rest_is_used():
    usable = rectangle(0, 0, 50, 100)
    result = [
        {
            **usable,
            "id": "a",
            "type": "brushlabels",
            "value": {"brushlabels": ["Disregard"], "rle": [1]},
            "original_width": 4,
            "original_height": 2,
        },
        region("rectangle", {"x": 0}, label="Suspicious", id="b"),
        {"id": "c", "type": "choices", "value": {"choices": ["Cannot judge"]}},
        {**rectangle(0, 0, float("nan"), 1), "id": "d"},
        region("ellipse", {"x": 0, "y": 0}, id="e"),
        {"type": "rectanglelabels"},
        "not even a region",
        usable,
    ]
    mask, unused = regions.mask(result, 4, 2)
    np.testing.assert_array_equal(mask, box(4, 2, 0, 0, 2, 2))
    assert len(unused) == 7
    reasons = ["a: .*brush", "b: .*Suspicious", "c: .*choices", "d: nan", "e: .*radiusX"]
    for name, reason in zip(unused, reasons, strict=False):
        assert re.match(f"region {reason}", name), name


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BROKEN = st.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING,
        "type": st.sampled_from(["labels", *regions.SHAPES, *(f"{shape}labels" for shape in regions.SHAPES)])
        | ANYTHING,
        "original_width": st.sampled_from([5, 0]) | ANYTHING,
        "original_height": st.sampled_from([7, 0]) | ANYTHING,
        "value": st.dictionaries(
            st.sampled_from(["x", "y", "width", "height", "radiusX", "radiusY", "rotation", "points", "rle"]),
            ANYTHING,
        ).flatmap(
            lambda value: st.sampled_from(["labels", *(f"{shape}labels" for shape in regions.SHAPES)]).map(
                lambda kind: {**value, kind: ["Disregard"]}
            )
        )
        | ANYTHING,
    },
)


@given(st.lists(BROKEN | ANYTHING, max_size=5))
def test_no_answer_is_too_broken_to_be_read(result):
    mask, unused = regions.mask(result, 7, 5)
    assert mask.shape == (5, 7)
    assert mask.dtype == bool
    assert len(unused) <= len(result)
    regions.marked(result)


NOT_NUMBERS = (None, "wide", float("nan"), float("inf"), [], {}, "", "1e999", 10**400)
PAINTED = brush(np.ones((5, 7), bool))["value"]


def broken_rectangle(luck: random.Random) -> Any:
    name = luck.choice(["x", "y", "width", "height"])
    good = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    return region("rectangle", luck.choice([without(good, name), {**good, name: luck.choice(NOT_NUMBERS)}]))


def broken_ellipse(luck: random.Random) -> Any:
    name = luck.choice(["x", "y", "radiusX", "radiusY"])
    good = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "rotation": 0}
    return region("ellipse", luck.choice([without(good, name), {**good, name: luck.choice(NOT_NUMBERS)}]))


def broken_polygon(luck: random.Random) -> Any:
    corner = luck.choice([None, 7, [1], [1, 2, 3], "xyz", [1, luck.choice(NOT_NUMBERS)], {}])
    points = luck.choice([[[0, 0], corner, [9, 90]], None, 7, "points", [], {"a": 1}])
    return region("polygon", luck.choice([{"points": points}, {}]))


def broken_brush(luck: random.Random) -> Any:
    sizes = {"original_width": 7, "original_height": 5}
    wrong = luck.choice([{"rle": luck.choice([None, [], [1], [-1], [256], "rle", {}, [None], PAINTED["rle"][:8]])}, {}])
    if luck.random() < 0.5:
        return region("brush", wrong, **sizes)
    name = luck.choice(list(sizes))
    return region("brush", PAINTED, **{**sizes, name: luck.choice([*NOT_NUMBERS, 0, -3, 6])})


def broken_labels(luck: random.Random) -> Any:
    kind = luck.choice(regions.SHAPES)
    labels = luck.choice(
        [None, [], "Disregard", [None], ["Suspicious"], [["Disregard"]], [{}], ["Disregard", "Maybe"], 3]
    )
    return {"id": "r", "type": f"{kind}labels", "value": {"x": 0, "y": 0, f"{kind}labels": labels}}


def nothing_of_ours(luck: random.Random) -> Any:
    thing = luck.choice([None, 0, "", "region", [], [[]], True, 1.5, {}])
    kind = luck.choice(["textarea", "keypointlabels", "videorectangle", "labels", "", None, 3, [], {}, "choices"])
    value = luck.choice([thing, {"choices": ["Perhaps"]}, {"choices": [[]]}, {"labels": ["Disregard"]}])
    return luck.choice([thing, {"id": luck.choice([thing, "r"]), "type": kind, "from_name": "verdict", "value": value}])


def outside(luck: random.Random) -> Any:
    return rectangle(luck.choice([-60, 100, 400]), 0, luck.choice([0, 50, -5]), 10)


def without(value: dict, name: str) -> dict:
    return {other: number for other, number in value.items() if other != name}


BREAKS = [
    broken_rectangle,
    broken_ellipse,
    broken_polygon,
    broken_brush,
    broken_labels,
    nothing_of_ours,
    outside,
]


def test_ten_thousand_malformed_answers_are_each_counted_with_a_reason():
    luck = random.Random(0)
    whole = rectangle(0, 0, 100, 100, id="whole")
    for number in range(10_000):
        broken = [luck.choice(BREAKS)(luck) for _ in range(luck.randint(1, 3))]
        mask, unused = regions.mask([*broken, whole], 7, 5)
        assert mask.all(), "the rest is used"
        assert len(unused) == len(broken), (number, broken, unused)
        assert all(re.fullmatch(r"region .*: .+", reason, re.DOTALL) for reason in unused), unused
        said = verdict(Answer("k", "i", "e", number, "t", "t", None, False, None, broken))
        assert said in (Verdict.MARKED, Verdict.NOTHING)


@pytest.mark.parametrize(
    ("result", "said", "told"),
    [
        ([], Verdict.NOTHING, None),
        (["prediction"], Verdict.UNTOUCHED, None),
        (["prediction-changed"], Verdict.NOTHING, None),  # marked, and the mark taken back
        (["prediction", "Nothing to disregard"], Verdict.NOTHING, None),
        (["prediction", "Cannot judge"], Verdict.CANNOT_JUDGE, None),
        (["mark"], Verdict.MARKED, None),
        (["mark", "Nothing to disregard"], Verdict.MARKED, 'says "Nothing to disregard" and marks.* the marks count'),
        (["mark", "Cannot judge"], Verdict.CANNOT_JUDGE, 'says "Cannot judge" and marks.* not used'),
    ],
)
def test_an_answer_has_one_verdict_and_a_contradiction_is_told(result, said, told):
    entries = {
        "mark": rectangle(0, 0, 50, 50, origin="prediction-changed"),
        **{o: region("rectangle", {}, regions.LOOKS, origin=o) for o in ("prediction", "prediction-changed")},
        **{
            c: {"type": "choices", "from_name": "verdict", "value": {"choices": [c]}}
            for c in (regions.NOTHING, regions.CANNOT_JUDGE)
        },
    }
    given = Answer("k", "i", "e", 1, "t", "t", None, False, None, [entries[name] for name in result])
    assert verdict(given) is said
    assert (contradiction(given) is None) == (told is None)
    assert told is None or re.match(told, contradiction(given))
    skipped = dataclasses.replace(given, skipped=True)
    assert (verdict(skipped), contradiction(skipped)) == (Verdict.SKIPPED, None)
    assert summary([given, given, skipped], {}) == f"2 {said.value}, 1 skipped"


def test_removed_outlines_are_neither_marks_nor_left_as_they_were():
    proposals = [Proposal(name, 10 * n, 0, 10, 10, 0.1) for n, name in enumerate("pqr")]
    asked = query(30, 10, *proposals)
    whole = regions.relabelled(regions.to_result(asked), set(), regions.DISREGARD)
    some = [entry for entry in whole if entry["id"] != "q"]
    nothing = {"type": "choices", "from_name": "verdict", "value": {"choices": [regions.NOTHING]}}
    for result, said, count in [
        (whole, Verdict.UNTOUCHED, 0),
        (some, Verdict.REMOVED, 1),
        ([*some, nothing], Verdict.NOTHING, 1),
        ([], Verdict.NOTHING, 3),
        (regions.relabelled(some, {"p"}, regions.DISREGARD), Verdict.MARKED, 1),
    ]:
        given = Answer("k", "i", "e", 1, "t", "t", None, False, None, result)
        assert (verdict(given, asked), removed(given, asked)) == (said, count)
        assert summary([given], {"k": asked}) == f"1 {said.value}"
        assert not regions.mask(result, 30, 10)[0][:, 10:20].any()


def test_marked_names_proposals_only():
    shown = regions.to_result(query(10, 10, Proposal("p", 0, 0, 5, 5, 0.1), Proposal("q", 5, 5, 5, 5, 0.1)))
    own = submitted("rectangle", SHAPES[0][1], regions.DISREGARD, id="own")
    assert regions.marked(regions.relabelled(shown, {"q"}, regions.DISREGARD) + own) == {"q"}
    old = [{**rectangle(0, 0, 1, 1), "id": "p", "origin": "prediction-changed"}, {**own[0], "type": "rectanglelabels"}]
    assert regions.marked(old) == {"p"}


def test_a_region_beyond_its_picture_is_never_shown():
    far, own = Proposal("far", 0, 0, 5, 5, 0.1, ((0.0, 0.0), (10.5, 0.0), (0.0, 5.0))), Proposal("p", 0, 0, 10, 10, 0.1)
    for asked in (query(10, 10, own, far), dataclasses.replace(query(10, 10, own), earlier=(far,))):
        with pytest.raises(AnnotationError, match="region far reaches beyond"):
            regions.to_result(asked)
    assert regions.to_result(query(10, 10, own))


def test_the_regions_fit_the_labelling_interface():
    from labelstudio.client.projects import INTERFACE

    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(INTERFACE)
    triangle = Proposal("t", 0, 0, 97, 31, 0.3, ((0.0, 0.0), (97.0, 0.5), (3.5, 31.0)))
    asked = query(97, 31, Proposal("p", 0, 0, 97, 31, 1.0), Proposal("q", 3, 7, 11, 13, 0.1), triangle)
    result = regions.to_result(dataclasses.replace(asked, earlier=(triangle,)))
    assert interface.validate_prediction({"result": result, "score": 0.5}, return_errors=True) == []
    labels = interface.get_control(regions.LABELS).labels
    assert set(labels) == {regions.LOOKS, regions.DISREGARD}
    assert set(interface.get_control(regions.EARLIER).labels) == {regions.BEFORE}
    assert {interface.get_control(shape).tag.lower() for shape in regions.SHAPES} == set(regions.SHAPES)
    assert interface.get_object(regions.IMAGE).tag == "Image"


def test_every_key_is_chosen_by_us():
    """Label Studio gives a label without a key the next digit, be it visible or not."""
    from labelstudio.client.projects import INTERFACE

    keys = [tag.get("hotkey") for tag in ElementTree.fromstring(INTERFACE).iter() if tag.tag in ("Label", "Choice")]
    assert len(keys) == len(set(keys)) == 5
    assert all(keys)
