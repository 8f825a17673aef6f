"""Small questions to ask in tests."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from labelstudio.exchange.records import Answer, Manifest, Proposal, Query
from labelstudio.exchange.regions import DISREGARD, relabelled, to_result

SIDE, CELL = 96, 12  # pixels


# With corners at thirds of a per cent, which no float holds, and a side through centres of pixels.
POLYGON = Proposal(
    "blob-36-60", 60, 36, 17, 28, 0.1, ((60.0, 36.5), (76.5, 36.5), (72.0, 50.0), (76.0, 64.0), (64.0, 60.0))
)


def manifest(
    folder: Path,
    count: int,
    round: str = "00",
    first: int = 0,
    more: tuple[Proposal, ...] = (),
    size: tuple[int, int] = (SIDE, SIDE),
) -> Manifest:
    """``count`` different pictures, written to ``folder``; proposals in cells (0,0), (3,4) and (7,7), and ``more``."""
    return Manifest("digits", round, tuple(_query(folder, first + n, more, *size) for n in range(count)))


def prefilled(asked: Manifest, *ids: str) -> Manifest:
    """The same queries, and these of their proposals come marked."""
    queries = (
        dataclasses.replace(q, proposals=tuple(dataclasses.replace(p, prefilled=p.id in ids) for p in q.proposals))
        for q in asked.queries
    )
    return dataclasses.replace(asked, queries=tuple(queries))


def proposal(column: int, row: int) -> Proposal:
    return Proposal(f"c{column}r{row}", column * CELL, row * CELL, CELL, CELL, 0.2)


def answer(
    key: str,
    marked: set[str],
    query: Query,
    expert: str = "a@example.org",
    number: int = 1,
    label: str = DISREGARD,
    **changes: object,
) -> Answer:
    """An expert's answer that marks these proposals of a query, with any field changed."""
    result = relabelled(to_result(query), marked, label)
    given = Answer(key, query.image_id, expert, number, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 5.0, False, 1)
    return dataclasses.replace(given, result=result, **changes)


def _query(folder: Path, number: int, more: tuple[Proposal, ...], width: int, height: int) -> Query:
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    (folder / f"{number:03}.png").write_bytes(buffer.getvalue())
    Image.fromarray(255 - pixels).resize((CELL, CELL)).save(folder / f"{number:03}.heat.png")
    return Query(
        image_id=f"image-{number:03}",
        image=f"{number:03}.png",
        digest=hashlib.sha256(buffer.getvalue()).hexdigest(),
        width=width,
        height=height,
        label="8",
        prediction="3",
        probabilities={"1": 0.2, "3": 0.5, "8": 0.3},
        entropy=max(0.9 - number / 100, 0.0),
        proposals=(proposal(0, 0), proposal(3, 4), proposal(7, 7), *more),
        heat=f"{number:03}.heat.png",
    )
