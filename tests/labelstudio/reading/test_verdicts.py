"""One verdict for each answer."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.regions import query, rectangle, region

from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Proposal
from labelstudio.reading.verdicts import Verdict, contradictions, removed, summary, verdict


@pytest.mark.parametrize(
    ("result", "expected", "message"),
    [
        ([], Verdict.NOTHING, None),
        (["prediction"], Verdict.UNTOUCHED, None),
        (["prediction-changed"], Verdict.NOTHING, None),  # marked, and the mark undone
        (["prediction", "Nothing to disregard"], Verdict.NOTHING, None),
        (["prediction", "Cannot judge"], Verdict.CANNOT_JUDGE, None),
        (["mark"], Verdict.MARKED, None),
        (["evidence"], Verdict.EVIDENCE, None),
        (["prediction", "evidence", "mark"], Verdict.EVIDENCE, None),
        (
            ["evidence", "Nothing to disregard"],
            Verdict.EVIDENCE,
            'the answer has marks and the choice "Nothing to disregard": its marks count',
        ),
        (
            ["evidence", "mark", "Cannot judge"],
            Verdict.CANNOT_JUDGE,
            'the answer has marks and the choice "Cannot judge": its marks are ignored',
        ),
        (
            ["mark", "Nothing to disregard"],
            Verdict.MARKED,
            'the answer has marks and the choice "Nothing to disregard": its marks count',
        ),
        (
            ["mark", "Cannot judge"],
            Verdict.CANNOT_JUDGE,
            'the answer has marks and the choice "Cannot judge": its marks are ignored',
        ),
    ],
)
def test_an_answer_has_one_verdict_and_a_contradiction_has_a_message(result, expected, message):
    entries = {
        "mark": rectangle(0, 0, 50, 50, origin="prediction-changed"),
        "evidence": rectangle(50, 50, 50, 50, label=regions.EVIDENCE, origin="manual"),
        **{o: region("rectangle", {}, regions.LOOKS, origin=o) for o in ("prediction", "prediction-changed")},
        **{
            c: {"type": "choices", "from_name": "verdict", "value": {"choices": [c]}}
            for c in (regions.NOTHING, regions.CANNOT_JUDGE)
        },
    }
    given = Answer("k", "i", "e", 1, "t", "t", None, False, None, [entries[name] for name in result])
    assert verdict(given) is expected
    assert contradictions(given, query(30, 10)) == ([message] if message else [])
    skipped = dataclasses.replace(given, skipped=True)
    assert (verdict(skipped), contradictions(skipped, query(30, 10))) == (Verdict.SKIPPED, [])
    assert summary([given, given, skipped], {}) == f"2 {expected.value}, 1 skipped"


def test_removed_outlines_are_no_marks():
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
