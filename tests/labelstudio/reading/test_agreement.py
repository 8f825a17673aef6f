"""Agreement of experts: a published value, and values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.readings import answer, query

from labelstudio.exchange.regions import EVIDENCE
from labelstudio.reading.agreement import alpha, iou, report, words

NAN = float("nan")


def test_alpha_is_the_published_one():
    # https://en.wikipedia.org/wiki/Krippendorff%27s_alpha, its worked example: 0.691 for nominal data.
    found = alpha(
        np.array(
            [
                [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
                [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
                [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
            ]
        )
    )
    assert found == pytest.approx(0.691, abs=5e-4)


def test_alpha_needs_two_experts_on_a_unit_and_two_judgements():
    assert alpha(np.array([[0.0, 1.0]])) is None
    assert alpha(np.array([[0.0, NAN], [NAN, 1.0]])) is None
    assert alpha(np.array([[1.0, 1.0], [1.0, 1.0]])) is None
    assert alpha(np.zeros((0, 0))) is None
    assert alpha(np.array([[0.0, 1.0], [0.0, 1.0]])) == 1


def test_iou_of_two_masks():
    one, other, none = np.zeros((2, 4), bool), np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    one[:, :3], other[:, 2:] = True, True  # 2 of 8 pixels in common
    assert iou(one, other) == 2 / 8
    assert iou(one, none) == 0
    assert iou(none, none) == 1


def test_the_report_of_a_round():
    queries = {"k": query(4), "l": query(4, 1), "unanswered": query(4, 2)}
    answers = [
        answer("a", 0, 1), answer("b", 0), answer("a", 3, key="l"), answer("b", 3, key="l"), answer("c", key="l"),
    ]  # fmt: skip
    gold = {"k": np.array([True, True, False, False]), "unanswered": np.ones(4, bool)}
    found = report(queries, answers, gold)
    assert (found["queries"], found["answered"]) == (3, 2)
    # Pairs' IoU: a and b 1/2 on k and 1 on l; a and c 0 on l; b and c 0 on l.
    assert found["iou"] == round((0.5 + 1 + 0 + 0) / 4, 4)
    assert {expert: own["iou"] for expert, own in found["experts"].items()} == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert {expert: own["answers"] for expert, own in found["experts"].items()} == {"a": 2, "b": 2, "c": 1}
    assert {expert: (own["gold"], own["accuracy"]) for expert, own in found["experts"].items()} == {
        "a": (1, 1.0), "b": (1, 0.75), "c": (0, None),
    }  # fmt: skip
    # By hand, as in the article above. Coincidences: k: (1,1) and (0,0) twice, (1,0); l: three experts on four
    # proposals, of which three are (0,0,0) and the last is (1,1,0), each pair weighing 1/(3-1).
    same, different = 2 + 2 * 2 + 3 * 3 + 1, 2 + 2  # of ordered pairs: agreeing, disagreeing
    ones, zeros = 3 + 2, 5 + 10
    n = same + different
    assert n == ones + zeros
    assert found["alpha"] == pytest.approx(1 - (n - 1) * different / (2 * ones * zeros), abs=1e-4)
    text = words(found)
    assert "2 of 3 queries answered, alpha" in text
    assert "a: 2 answered, alpha" in text
    assert "accuracy 75% (gold queries: 1)" in text


def test_evidence_and_marks_agree_where_both_were_judged():
    """Of the columns 0 to 3, which are shown, both say 0 and 1; the marks say nothing about 4 to 7."""
    here, marks = answer("a", 2, 3, label=EVIDENCE), answer("b", 0, 1)
    assert report({"k": query(4)}, [here, marks], {})["iou"] == 1
    assert report({"k": query(4)}, [here, marks], {})["alpha"] == 1
    drawn = answer("b", 0, 1, 3, 5)  # one of them where the evidence is
    assert report({"k": query(4)}, [here, drawn], {})["iou"] == 3 / 4
    other = answer("b", 3, 4, label=EVIDENCE)  # everything was judged by both
    assert report({"k": query(4)}, [here, other], {})["iou"] == round(5 / 7, 4)


def test_the_report_names_every_contradiction():
    both = answer("b", 1, label=EVIDENCE)
    both.result.extend(answer("b", 1, 2).result)
    found = report({"k": query(4)}, [answer("a", 1), both], {})
    assert [(one["expert"], one["image_id"]) for one in found["contradictions"]] == [("b", "i")]
    assert "c1 is marked both" in found["contradictions"][0]["what"]
    assert report({"k": query(4)}, [answer("a", 1)], {})["contradictions"] == []


def test_one_expert_has_nobody_to_agree_with():
    found = report({"k": query()}, [answer("a", 1)], {})
    assert (found["alpha"], found["iou"]) == (None, None)
    assert words(found).splitlines()[:2] == ["1 of 1 queries answered", "  a: 1 answered"]
    assert report({"k": query()}, [answer("a", 1, skipped=True)], {})["experts"] == {}


def test_a_perfect_expert_is_right_on_every_gold_query():
    truth = np.array([False, True, True, False])
    found = report({"k": query(4)}, [answer("a", 1, 2), answer("b", 1, 3)], {"k": truth})
    assert found["experts"]["a"]["accuracy"] == 1
    assert found["experts"]["b"]["accuracy"] == 0.5  # two of four
