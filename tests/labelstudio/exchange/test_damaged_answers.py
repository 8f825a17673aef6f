"""Damaged answers: each unusable region gets a reason, and all other regions count."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.regions import EXAMPLES, box, brush, query, rectangle, region, submitted
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.exchange import regions
from labelstudio.exchange.geometry import SHAPES
from labelstudio.exchange.records import Answer, Proposal
from labelstudio.reading.corrections import corrections
from labelstudio.reading.marks import disregarded
from labelstudio.reading.verdicts import Verdict, contradictions, verdict


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["value"].update(rle=r["value"]["rle"][:20]), "incomplete"),
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


def test_a_shape_without_a_label_and_a_label_without_a_shape_are_named():
    shape, value = EXAMPLES[0]
    unlabelled = submitted(shape, value, id="a")
    shapeless = submitted(shape, value, regions.DISREGARD, id="b")[1:]
    mask, unused = regions.mask(unlabelled + shapeless, 10, 10)
    assert not mask.any()
    assert unused == ["region a: no label", "region b: label without a shape"]


def test_an_unusable_region_is_named_with_its_reason_and_the_rest_is_used():
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
        "type": st.sampled_from(["labels", *SHAPES, *(f"{shape}labels" for shape in SHAPES)]) | ANYTHING,
        "original_width": st.sampled_from([5, 0]) | ANYTHING,
        "original_height": st.sampled_from([7, 0]) | ANYTHING,
        "value": st.dictionaries(
            st.sampled_from(["x", "y", "width", "height", "radiusX", "radiusY", "rotation", "points", "rle"]),
            ANYTHING,
        ).flatmap(
            lambda value: st.sampled_from(["labels", *(f"{shape}labels" for shape in SHAPES)]).map(
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
    whole = rectangle(0, 0, 100, 100, id="whole", label=regions.EVIDENCE)
    mask, unused = disregarded([*result, whole], 7, 5)
    assert not mask.any(), "all of it is evidence"
    assert len(unused) <= len(result)
    answer = Answer("k", "i", "e", 1, "t", "t", None, False, None, [*result, whole])
    assert all(isinstance(message, str) for message in contradictions(answer, query(7, 5)))
    assert verdict(replace(answer, result=result), query(7, 5)) in Verdict


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
    kind = luck.choice(SHAPES)
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


@pytest.mark.parametrize("origin", ["prediction", "manual", [], None])
def test_corrections_are_counted_in_malformed_answers_too(origin):
    luck = random.Random(1)
    asked = query(7, 5, Proposal("kept", 0, 0, 3, 3, 0.5, prefilled=True), Proposal("r", 4, 0, 2, 2, 0.5))
    kept = rectangle(0, 0, 40, 60, id="kept", origin="prediction")
    kept["value"]["rectanglelabels"] = [regions.PREFILLED, regions.DISREGARD]
    for number in range(2_000):
        broken = [luck.choice(BREAKS)(luck) for _ in range(luck.randint(1, 3))]
        result = [{**one, "origin": origin} if isinstance(one, dict) else one for one in broken]
        given = Answer("k", "i", "e", number, "t", "t", None, False, None, [*result, kept])
        found = corrections(given, asked)
        assert found.added >= 0
        assert found.rejected == 0
        assert verdict(given, asked) in (Verdict.MARKED, Verdict.CONFIRMED)
