"""Disputes: when two experts disagree, and which answers make a decided query's mask."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.readings import answer, query

from labelstudio.exchange import regions
from labelstudio.exchange.records import submitted
from labelstudio.exchange.regions import EVIDENCE
from labelstudio.reading import consensus
from labelstudio.reading.consensus import counted, latest
from labelstudio.reading.disputes import disputed

LATER = "2026-01-02T10:00:00Z"
CANNOT = {"result": [regions.choice(regions.CANNOT_JUDGE)]}


def cannot(expert: str, **more):
    return replace(answer(expert, **more), **CANNOT)


@pytest.mark.parametrize(
    ("one", "other", "disagree"),
    [
        (answer("ann", 0, 1), answer("ben", 0, 1), False),
        (answer("ann", 0, 1), answer("ben", 0), True),
        (answer("ann"), answer("ben"), False),
        (answer("ann", 5), answer("ben"), True),  # drawn outside of the four proposals
        (answer("ann", 0, 1, 5), answer("ben", 0, 1), False),  # and the rest is the same
        (answer("ann", 0, label=EVIDENCE), answer("ben", 1, 2, 3), False),  # the same, said in two ways
        (answer("ann", 0, label=EVIDENCE), answer("ben", 0), True),
        (answer("ann", 0), answer("ben", skipped=True), False),
        (answer("ann", 0), cannot("ben"), False),
        (answer("ann", 0), answer("ann", 1, at=LATER), False),  # one expert's second thoughts
    ],
)
def test_two_experts_disagree(one, other, disagree):
    queries = {"k": query(4)}
    assert bool(disputed(queries, [one, other])) is disagree
    decision = answer("head", 2, decides=True)
    assert not disputed(queries, [one, other, decision])
    assert bool(disputed(queries, [one, other, answer("head", 2, decides=True, skipped=True)])) is disagree


@pytest.mark.parametrize("rule", ["majority", "any", "all", "dawid-skene"])
@pytest.mark.parametrize("soft", [False, True])
def test_a_decision_makes_the_mask_alone_by_every_rule(rule, soft):
    if rule == "dawid-skene":
        pytest.importorskip("crowdkit")
    queries = {"k": query(8), "l": query(8, 1)}
    experts = [answer(name, 0, 1, key=key) for name in ("ann", "ben") for key in "kl"]
    decision = answer("head", 7, decides=True)
    found = consensus.weights(queries, [*experts, decision], rule=rule, soft=soft)["k"]
    assert found[0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    evidence = answer("head", 7, decides=True, label=EVIDENCE)
    assert consensus.with_evidence(queries, [*experts, evidence], rule=rule) == {"k"}


def test_the_last_decision_counts_and_one_that_cannot_judge_leaves_no_answer():
    experts = [answer("ann", 0), answer("ben", 1)]
    first, last = answer("head", 2, decides=True), answer("head", 3, decides=True, at=LATER)
    assert counted([*experts, last, first]) == [last]
    assert counted([*experts, cannot("head", decides=True)]) == []
    assert counted(experts) == latest([*experts, first]) == experts


def test_an_expert_who_decides_has_submitted_two_answers():
    assert submitted([answer("ann", 0), answer("ann", 0, at=LATER), answer("ann", 1, decides=True)]) == 2
