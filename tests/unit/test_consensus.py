"""Many answers, one mask."""

from __future__ import annotations

import numpy as np
import pytest

from labelstudio.consensus import disregarded, latest, votes
from labelstudio.records import AnnotationError, Answer

WIDTH, HEIGHT = 8, 4


def answer(expert: str, *columns: int, at: str = "2026-01-01T10:00:00Z", id: int = 1, **more) -> Answer:
    """An expert who disregards these columns, each one pixel wide."""
    result = [
        {
            "id": f"c{column}",
            "type": "rectanglelabels",
            "value": {
                "x": 100 * column / WIDTH,
                "y": 0,
                "width": 100 / WIDTH,
                "height": 100,
                "rectanglelabels": ["Disregard"],
            },
        }
        for column in columns
    ]
    more = {"skipped": False, "key": "k", **more}
    return Answer(
        image_id="i", expert=expert, annotation_id=id, created_at=at, updated_at=at, lead_time=1.0,
        parent_prediction=None, result=result, **more,
    )  # fmt: skip


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
def test_a_pixel_is_disregarded_by_more_than_half_of_those_who_answered(answers, expected):
    assert columns(disregarded(answers, WIDTH, HEIGHT)) == expected
    assert columns(disregarded(answers[::-1], WIDTH, HEIGHT)) == expected


def test_votes_say_how_many_agree():
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
