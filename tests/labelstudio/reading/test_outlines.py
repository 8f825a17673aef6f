"""Experts' agreement with the model's proposals, with and without outlines: values worked by hand."""

from __future__ import annotations

import pytest
from fakes.readings import answer, query

from labelstudio.reading.agreement import report, words
from labelstudio.reading.outlines import Share, compared, pooled, read, shares


def test_an_expert_agrees_with_the_proposals_that_stay_unmarked():
    queries = {name: query(4, number) for number, name in enumerate("abc")}
    given = [answer("ann", 0, key="a"), answer("ann", key="b"), answer("ann", 0, 1, 2, 5, key="c", blind=True)]
    assert shares(queries, given) == {"with": Share(0.875, 2), "without": Share(0.25, 1)}


def test_each_query_is_one_trial_of_wilsons_interval():
    # Newcombe 1998, Statistics in Medicine 17, 857-872: 81 of 263 gives 0.2553 to 0.3662.
    found = compared(Share(81 / 263, 263), Share(0.0, 0))
    assert found["with"] == {"queries": 263, "agreement": 0.308, "interval": [0.2553, 0.3662]}
    assert found["without"] == {"queries": 0, "agreement": None, "interval": None}
    assert found["difference"] is None


def test_the_difference_has_newcombes_interval():
    # Newcombe 1998, Statistics in Medicine 17, 873-890: 56/70 against 48/80 gives 0.0524 to 0.3339 by method 10.
    found = compared(Share(56 / 70, 70), Share(48 / 80, 80))["difference"]
    assert found == {"agreement": 0.2, "interval": [0.0524, 0.3339]}


def test_full_agreement_on_two_queries_is_no_certainty():
    low, high = compared(Share(1.0, 2), Share(1.0, 2))["without"]["interval"]
    assert (low, high) == (pytest.approx(0.342, abs=1e-3), 1.0)


def test_rounds_are_pooled_by_their_queries():
    assert pooled([Share(1.0, 1), Share(0.5, 3), Share(0.0, 0)]) == Share(0.625, 4)
    assert read(compared(Share(0.5, 3), Share(0.0, 0))) == (Share(0.5, 3), Share(0.0, 0))


def test_the_report_has_each_experts_agreement_if_outlines_were_left_out():
    queries = {name: query(4, number) for number, name in enumerate("ab")}
    seen = [answer("ann", 0, key="a"), answer("ben", key="a")]
    assert "outlines" not in report(queries, seen, {})["experts"]["ann"]
    found = report(queries, [*seen, answer("ann", 0, 1, 2, 3, key="b", blind=True)], {})
    own = found["experts"]["ann"]["outlines"]
    assert (own["with"]["agreement"], own["without"]["agreement"]) == (0.75, 0.0)
    assert found["experts"]["ben"]["outlines"]["without"]["queries"] == 0
    assert "agrees with the proposals with outlines 75% [" in words(found)
    assert "without outlines 0% [" in words(found)
