"""Corrections: marks that experts left, took back and added, and their gestures; all values are worked by hand."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.queries import SIDE, answer, manifest, proposal

from labelstudio.exchange import geometry, regions
from labelstudio.exchange.regions import DISREGARD, EVIDENCE, LOOKS, PREFILLED, choice, drawn, relabelled, to_result
from labelstudio.reading.agreement import report as crowd
from labelstudio.reading.corrections import Corrections, corrections, report, words
from labelstudio.reading.marks import both_ways, disregarded
from labelstudio.reading.verdicts import Verdict, contradictions, verdict

BOX = {"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 0}
SQUARE = {"width": SIDE, "height": SIDE}


@pytest.fixture
def query(tmp_path):
    """Of the cells (0,0), (3,4) and (7,7), the first two come marked."""
    (found,) = manifest(tmp_path, 1).queries
    first, second, third = found.proposals
    marked = tuple(dataclasses.replace(one, prefilled=True) for one in (first, second))
    return dataclasses.replace(found, proposals=(*marked, third))


def labels(result) -> dict[str, list[str]]:
    return {entry["id"]: entry["value"]["labels"] for entry in result if entry["type"] == "labels"}


def test_the_key_is_a_switch_also_for_a_prefilled_mark(query):
    shown = to_result(query)
    assert labels(shown) == {"c0r0": [PREFILLED, DISREGARD, LOOKS]} | {
        "c3r4": [PREFILLED, DISREGARD, LOOKS],
        "c7r7": [LOOKS],
    }
    once = relabelled(shown, {"c0r0", "c7r7"}, DISREGARD)
    assert labels(once)["c0r0"] == [LOOKS, PREFILLED], "the first label gives the colour"
    assert labels(once)["c7r7"] == [DISREGARD, LOOKS]
    assert labels(relabelled(once, {"c0r0"}, DISREGARD))["c0r0"] == [DISREGARD, LOOKS, PREFILLED]


@pytest.mark.parametrize(
    ("touched", "more", "expected", "said"),
    [
        (set(), [], Corrections(2, 0, 0, 0, 0), Verdict.CONFIRMED),
        ({"c0r0"}, [], Corrections(1, 1, 0, 1, 1), Verdict.MARKED),
        ({"c7r7"}, [], Corrections(2, 0, 1, 1, 1), Verdict.MARKED),
        ({"c0r0", "c3r4"}, [], Corrections(0, 2, 0, 2, 2), Verdict.NOTHING),
        (set(), [choice(regions.NOTHING)], Corrections(0, 2, 0, 0, 1), Verdict.NOTHING),
        (set(), [choice(regions.CANNOT_JUDGE)], Corrections(2, 0, 0, 0, 1), Verdict.CANNOT_JUDGE),
        (
            set(),
            drawn("rectangle", BOX, DISREGARD, width=SIDE, height=SIDE),
            Corrections(2, 0, 1, 1, 2),
            Verdict.MARKED,
        ),
        (set(), drawn("ellipse", BOX, EVIDENCE, width=SIDE, height=SIDE), Corrections(2, 0, 0, 1, 2), Verdict.EVIDENCE),
    ],
)
def test_confirmed_rejected_and_added_marks_are_told_apart(query, touched, more, expected, said):
    shown = answer("k", set(), query)
    given = dataclasses.replace(shown, result=[*relabelled(to_result(query), touched, DISREGARD), *more])
    assert verdict(given, query) is said
    assert corrections(given, query) == expected


def test_a_choice_of_nothing_takes_back_what_nobody_touched_and_nothing_else(query):
    shown = relabelled(to_result(query), {"c7r7"}, DISREGARD)
    given = dataclasses.replace(answer("k", set(), query), result=[*shown, choice(regions.NOTHING)])
    marked, unused = disregarded(given.result, SIDE, SIDE)
    assert (marked == geometry.pixels(proposal(7, 7), SIDE, SIDE)).all()
    assert unused == []
    assert regions.marked(given.result) == {"c7r7"}
    assert contradictions(given, query) == [
        'the answer has marks and the choice "Nothing to disregard": its marks count'
    ]
    alone = dataclasses.replace(
        given, result=[*relabelled(to_result(query), set(), DISREGARD), choice(regions.NOTHING)]
    )
    assert contradictions(alone, query) == []


def test_evidence_on_a_prefilled_mark_is_no_contradiction_of_the_expert(query):
    around = geometry.ellipse_around(geometry.pixels(proposal(3, 4), SIDE, SIDE))
    result = [*relabelled(to_result(query), set(), DISREGARD)]
    result += drawn("ellipse", around, EVIDENCE, width=SIDE, height=SIDE)
    given = dataclasses.replace(answer("k", set(), query), result=result)
    assert both_ways(given, query) == []
    touched = dataclasses.replace(given, result=[*relabelled(result[:-2], {"c3r4"}, EVIDENCE), *result[-2:]])
    assert len(both_ways(touched, query)) == 1


def test_a_deleted_prefilled_outline_is_taken_back_and_no_mere_confirmation(query):
    result = [entry for entry in relabelled(to_result(query), set(), DISREGARD) if entry["id"] != "c0r0"]
    given = dataclasses.replace(answer("k", set(), query), result=result)
    assert corrections(given, query) == Corrections(1, 1, 0, 1, 1)
    assert verdict(given, query) is Verdict.MARKED


def test_without_outlines_nothing_was_prefilled(query):
    blind = dataclasses.replace(query, blind=True)
    assert to_result(blind) == []
    polygon = {"points": [[0, 0], [50, 0], [50, 50]], "closed": True}
    result = drawn("polygon", polygon, DISREGARD, width=SIDE, height=SIDE)
    given = dataclasses.replace(answer("k", set(), query), result=result, blind=True)
    assert corrections(given, blind) == Corrections(0, 0, 1, 4, 2)


def test_the_round_has_the_spreaders_precision_and_the_gestures_of_an_answer(query):
    queries = {"k": query}
    given = [answer("k", touched, query, expert) for expert, touched in (("a", {"c0r0"}), ("b", {"c7r7"}))]
    found = crowd(queries, given, {})
    assert found["corrections"] == report(queries, given)
    assert found["corrections"] == {
        "answers": 2,
        "confirmed": 3,
        "rejected": 1,
        "added": 1,
        "precision": 0.75,
        "clicks": 1.0,
        "keys": 1.0,
        "seconds": 5.0,
    }
    said = "3 pre-filled marks confirmed, 1 taken back, 1 marks added; 1.0 clicks and 1.0 keys an answer"
    assert words(found["corrections"]) == said
    assert words(report(queries, [])) == ""
    assert report(queries, [])["precision"] is None
