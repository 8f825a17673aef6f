"""Many answers, one mask."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fakes.readings import HEIGHT, WIDTH, answer, query

from labelstudio.exchange.records import AnnotationError, Proposal, Query
from labelstudio.exchange.regions import EVIDENCE
from labelstudio.reading.consensus import disregarded, judged, latest, votes, weights, with_evidence


def columns(mask: np.ndarray) -> list[int]:
    assert mask.shape == (HEIGHT, WIDTH)
    assert (mask == mask[:1]).all(), "whole columns only"
    return [int(column) for column in np.nonzero(mask[0])[0]]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], []),
        ([answer("a", 1)], [1]),
        ([answer("a", 1), answer("b", 2)], []),  # one of two is no majority
        ([answer("a", 1, 2), answer("b", 2)], [2]),
        ([answer("a", 1, 2), answer("b", 2, 3), answer("c", 3)], [2, 3]),
        ([answer("a", 1), answer("b")], []),  # an empty answer counts
        ([answer("a", 1), answer("b", skipped=True)], [1]),  # a skipped one does not
        ([answer("a", 1, skipped=True)], []),
    ],
)
def test_more_than_half_of_the_experts_with_an_answer_disregard_a_pixel(answers, expected):
    assert columns(disregarded(answers, WIDTH, HEIGHT)) == expected
    assert columns(disregarded(answers[::-1], WIDTH, HEIGHT)) == expected


def test_votes_count_the_experts_who_agree():
    counts, experts = votes([answer("a", 1, 2), answer("b", 2), answer("c", skipped=True)], WIDTH, HEIGHT)
    assert experts == 2
    assert counts[0].tolist() == [0, 1, 2, 0, 0, 0, 0, 0]


def test_overlapping_regions_of_one_expert_are_one_vote():
    counts, _ = votes([answer("a", 1, 1)], WIDTH, HEIGHT)
    assert counts.max() == 1


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000001Z"),  # as text, these two sort the other way
        ("2026-01-01T12:00:00+02:00", "2026-01-01T10:00:01Z"),
    ],
)
def test_an_experts_last_answer_counts(earlier, later):
    answers = [answer("a", 1, at=later, id=1), answer("a", 2, at=earlier, id=2)]
    assert columns(disregarded(answers, WIDTH, HEIGHT)) == [1]
    assert [a.annotation_id for a in latest(answers)] == [1]


def test_a_later_skip_does_not_take_an_answer_back():
    answers = [answer("a", 1), answer("a", at="2026-01-02T10:00:00Z", id=2, skipped=True)]
    assert columns(disregarded(answers, WIDTH, HEIGHT)) == [1]


def test_answers_to_different_queries_are_not_mixed():
    with pytest.raises(AnnotationError, match="different queries"):
        disregarded([answer("a", 1), answer("b", 1, key="another")], WIDTH, HEIGHT)


THREE = [answer("a", 1, 2, 3), answer("b", 2, 3), answer("c", 3)]  # columns 1, 2, 3 have one, two, three votes
RULES = {"majority": [2, 3], "any": [1, 2, 3], "all": [3]}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_decides_how_many_experts_must_agree(rule):
    assert columns(disregarded(THREE, WIDTH, HEIGHT, rule=rule)) == RULES[rule]
    assert columns(disregarded([], WIDTH, HEIGHT, rule=rule)) == []
    tie = [answer("a", 1), answer("b", 2)]
    assert columns(disregarded(tie, WIDTH, HEIGHT, rule=rule)) == ([1, 2] if rule == "any" else [])


def test_w_is_the_rules_decision_or_the_share_of_experts_who_marked():
    answers = [*THREE, answer("d", 7, skipped=True), answer("a", 5, key="of another round")]
    queries = {"k": query(), "unanswered": query()}
    hard, soft = (weights(queries, answers, rule="majority", soft=soft) for soft in (False, True))
    assert set(hard) == set(soft) == {"k"}
    assert hard["k"].dtype == soft["k"].dtype == np.float32
    assert hard["k"][0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(soft["k"][HEIGHT - 1], [0, 1 / 3, 2 / 3, 1, 0, 0, 0, 0], rtol=1e-6)
    assert weights(queries, answers, rule="all", soft=False)["k"][0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


MIXED = [answer("a", 2, 3, label=EVIDENCE), answer("b", 3, 4, label=EVIDENCE), answer("c", 0, 3)]


@pytest.mark.parametrize(
    ("rule", "columns_of_w", "known"),
    [("majority", [0, 1, 5, 6, 7], True), ("any", list(range(8)), True), ("all", [0], False)],
)
def test_experts_who_mark_evidence_disregard_everything_else(rule, columns_of_w, known):
    queries = {"k": query(5)}
    assert columns(weights(queries, MIXED, rule=rule, soft=False)["k"]) == columns_of_w
    assert with_evidence(queries, MIXED, rule=rule) == ({"k"} if known else set())
    assert with_evidence(queries, [answer("a", label=EVIDENCE), answer("c", 0, 3)], rule=rule) == set()
    assert with_evidence(queries, MIXED[:1], rule=rule) == {"k"}
    assert with_evidence(queries, [], rule=rule) == set()
    soft = weights(queries, MIXED, rule="majority", soft=True)["k"][0]
    np.testing.assert_allclose(3 * soft, [3, 2, 1, 1, 1, 2, 2, 2], rtol=1e-6)


def test_evidence_judges_every_proposal():
    assert judged(query(5), MIXED[0]).tolist() == [True, True, False, False, True]
    pytest.importorskip("crowdkit", reason="needs the extra `crowd`")
    certain = weights({"k": query(5)}, MIXED[:1], rule="dawid-skene", soft=False)["k"]
    assert columns(certain) == [0, 1, 4, 5, 6, 7]


def test_an_expert_marks_a_proposal_by_more_than_half_of_its_pixels():
    wide = Proposal("wide", 0, 0, 2, HEIGHT, 0.1)
    one = Query("i", "i.png", "0", WIDTH, HEIGHT, "8", "3", {"3": 1.0}, 0.5, (wide, Proposal("c4", 4, 0, 1, 4, 0.1)))
    assert judged(one, answer("a", 1, 4)).tolist() == [False, True]
    assert judged(one, answer("a", 0, 1)).tolist() == [True, False]


def test_dawid_and_skene_trust_reliable_experts():
    pytest.importorskip("crowdkit", reason="needs the extra `crowd`")
    # Of 80 proposals, two experts know which must not matter; three others toss coins.
    rng = np.random.default_rng(0)
    truth, answers = {}, []
    for n in range(10):
        truth[f"k{n}"] = rng.integers(0, 2, WIDTH)
        for expert in ("a", "b", "x", "y", "z"):
            said = truth[f"k{n}"] if expert in ("a", "b") else rng.integers(0, 2, WIDTH)
            answers.append(answer(expert, *np.nonzero(said)[0], key=f"k{n}"))
    queries = {key: query(number=n) for n, key in enumerate(truth)}
    wrong = {
        rule: sum(
            int((w[0] != truth[key]).sum()) for key, w in weights(queries, answers, rule=rule, soft=False).items()
        )
        for rule in ("majority", "dawid-skene")
    }
    assert wrong["majority"] > 5  # three coins outvote two experts once in eight times
    assert wrong["dawid-skene"] == 0
    soft = np.stack(list(weights(queries, answers, rule="dawid-skene", soft=True).values()))
    assert 0 <= soft.min() < soft.max() <= 1


def test_dawid_and_skene_keep_the_marks_of_one_expert_and_of_none():
    pytest.importorskip("crowdkit", reason="needs the extra `crowd`")
    queries = {"k": query(4)}
    assert weights(queries, [answer("a")], rule="dawid-skene", soft=False)["k"].max() == 0
    assert (
        weights(queries, [answer("a", 0, 1, 2, 3)], rule="dawid-skene", soft=False)["k"][0].tolist()
        == [1] * 4 + [0] * 4
    )
    # Columns 5 and 6 are no proposals: there, the majority of the drawn regions counts.
    drawn = [answer("a", 0, 5, 6), answer("b", 0, 5), answer("c", 0, 5)]
    assert weights(queries, drawn, rule="dawid-skene", soft=False)["k"][0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
    assert weights(queries, [], rule="dawid-skene", soft=False) == {}


def test_without_crowd_kit_the_message_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(AnnotationError, match=r"crowd-kit.*Fix.*\[crowd\].*`majority`, `any` or `all`"):
        weights({"k": query()}, [answer("a", 1)], rule="dawid-skene", soft=False)
