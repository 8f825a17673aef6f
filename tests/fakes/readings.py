"""Answers of several experts to one small query."""

from __future__ import annotations

from labelstudio.exchange.records import Answer, Proposal, Query
from labelstudio.exchange.regions import DISREGARD

WIDTH, HEIGHT = 8, 4


def answer(
    expert: str, *columns: int, at: str = "2026-01-01T10:00:00Z", id: int = 1, label: str = DISREGARD, **more
) -> Answer:
    """Return the answer of an expert who marks these columns, each one pixel wide."""
    result = [
        {
            "id": f"c{column}",
            "type": "rectanglelabels",
            "value": {
                "x": 100 * column / WIDTH,
                "y": 0,
                "width": 100 / WIDTH,
                "height": 100,
                "rectanglelabels": [label],
            },
        }
        for column in columns
    ]
    more = {"skipped": False, "key": "k", **more}
    return Answer(
        image_id="i", expert=expert, annotation_id=id, created_at=at, updated_at=at, lead_time=1.0,
        parent_prediction=None, result=result, **more,
    )  # fmt: skip


def query(count: int = 8, number: int = 0) -> Query:
    """Return a query whose proposals are the picture's first ``count`` columns."""
    proposals = tuple(Proposal(f"c{column}", column, 0, 1, HEIGHT, 0.1) for column in range(count))
    return Query("i", "i.png", str(number), WIDTH, HEIGHT, "8", "3", {"3": 1.0}, 0.5, proposals)
