"""Two kinds of marks, what must not matter and where the evidence is: their mask, and their contradictions."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.readings import WIDTH, answer
from fakes.regions import EXAMPLES, box, boxes, brush, query, rectangle, region, submitted
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import Answer, Proposal
from labelstudio.exchange.regions import BEFORE, DISREGARD, EVIDENCE
from labelstudio.reading.marks import both_ways, disregarded, says_evidence
from labelstudio.reading.verdicts import Verdict, verdict

ASKED = query(10, 10, Proposal("p", 0, 0, 5, 5, 0.1), Proposal("q", 5, 5, 5, 5, 0.1))


def given_as(*results: list[dict]) -> Answer:
    return Answer("k", "i", "e", 1, "t", "t", None, False, None, [entry for result in results for entry in result])


@given(boxes(), st.booleans())
def test_everything_but_the_evidence_must_not_matter(numbers, also_marked):
    width, height, x, y, across, down = numbers
    shape = [100 * x / width, 100 * y / height, 100 * across / width, 100 * down / height]
    result = [rectangle(*shape, label=EVIDENCE, id="here")]
    if also_marked:
        result.append(rectangle(0, 0, 100, 100, id="all"))
    mask, unused = disregarded(result, width, height)
    np.testing.assert_array_equal(mask, ~box(*numbers))
    assert unused == []


@pytest.mark.parametrize(("shape", "value"), EXAMPLES)
def test_any_shape_says_where_the_evidence_is(shape, value):
    inside = geometry.area(region(shape, value), 10, 10)
    for result in ([region(shape, value, EVIDENCE)], submitted(shape, value, EVIDENCE)):
        mask, unused = disregarded(result, 10, 10)
        np.testing.assert_array_equal(mask, ~inside)
        assert unused == []
        assert verdict(given_as(result)) is Verdict.EVIDENCE
        assert says_evidence(given_as(result), ASKED)


def test_brush_strokes_and_several_shapes_are_one_evidence():
    painted = box(10, 10, 8, 8, 2, 2)
    result = [brush(painted, label=EVIDENCE), rectangle(0, 0, 50, 50, label=EVIDENCE)]
    np.testing.assert_array_equal(disregarded(result, 10, 10)[0], ~(painted | box(10, 10, 0, 0, 5, 5)))


def test_an_answer_without_evidence_is_read_as_before():
    shown = regions.to_result(ASKED)
    for result in (regions.relabelled(shown, {"q"}, DISREGARD), shown, [], answer("a", 1, 3).result):
        mask, unused = disregarded(result, WIDTH, 4)
        np.testing.assert_array_equal(mask, regions.mask(result, WIDTH, 4)[0])
        assert unused == regions.mask(result, WIDTH, 4)[1]
        assert both_ways(given_as(result), ASKED) == []
        assert not says_evidence(given_as(result), ASKED)


def test_an_unusable_evidence_is_told_once_and_the_other_marks_count():
    result = [rectangle(200, 0, 10, 10, label=EVIDENCE, id="far"), rectangle(0, 0, 50, 50), region("circle", {})]
    mask, unused = disregarded(result, 10, 10)
    np.testing.assert_array_equal(mask, box(10, 10, 0, 0, 5, 5))
    assert unused == ["region far: covers no pixel of the image", "region r: type 'circlelabels' is not supported"]


MARKED = regions.relabelled(regions.to_result(ASKED), {"p"}, DISREGARD)
BOTH = regions.relabelled(MARKED, {"p"}, EVIDENCE)
SAYS = f'region p is marked both "{DISREGARD}" and "{EVIDENCE}": the evidence counts'


@pytest.mark.parametrize(
    ("result", "messages"),
    [
        (BOTH, [SAYS]),  # one cell with both labels
        ([*MARKED, *submitted("rectangle", EXAMPLES[0][1], EVIDENCE)], [SAYS]),  # most of the cell is evidence
        # All the evidence is in a larger region that must not matter.
        ([*MARKED, rectangle(10, 10, 20, 20, label=EVIDENCE)], [SAYS]),
        # The evidence cuts a corner of the cell off.
        ([*MARKED, rectangle(30, 30, 60, 60, label=EVIDENCE)], []),
        ([*MARKED, rectangle(50, 50, 50, 50, label=EVIDENCE)], []),
        ([*MARKED, rectangle(0, 0, 0, 0, label=EVIDENCE)], []),  # covers nothing
    ],
)
def test_a_cell_marked_both_ways_is_a_contradiction_and_evidence_wins(result, messages):
    assert both_ways(given_as(result), ASKED) == messages
    mask, _ = disregarded(result, 10, 10)
    evidence, _ = regions.mask(result, 10, 10, label=EVIDENCE)
    assert not (mask & evidence).any()


def test_evidence_on_what_an_earlier_round_marked_is_a_contradiction():
    asked = query(10, 10, Proposal("q", 5, 5, 5, 5, 0.1))
    earlier = [{**rectangle(0, 0, 50, 50, label=BEFORE), "id": "before-0-0", "readonly": True}]
    here = [rectangle(0, 0, 60, 60, label=EVIDENCE)]
    (message,) = both_ways(given_as(earlier, here), asked)
    assert message == f'region before-0-0, marked in an earlier round, is now "{EVIDENCE}": the evidence counts'
    assert disregarded([*earlier, *here], 10, 10)[0].sum() == 100 - 36
