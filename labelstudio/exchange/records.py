"""What passes between the pipeline and the experts: queries go out, answers come back.

Lengths are whole pixels of the query image, x to the right and y down from its top left
corner. Nothing in a query depends on the clock, a server or a run, so that the same
training asks the same question, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


class AnnotationError(Exception):
    """Something about annotating went wrong; the message says what, where, and what to do."""


@dataclass(frozen=True)
class Proposal:
    """One region shown on a query, in pixels: a rectangle, or the polygon of ``points``, (x, y) each.

    A polygon lies in the rectangle x, y, width, height. ``id`` is unique on its query and derived
    from the geometry alone; ``score`` is the region's share of the image's saliency (0 to 1).
    """

    id: str
    x: int
    y: int
    width: int
    height: int
    score: float
    points: tuple[tuple[float, float], ...] = ()

    def corners(self) -> tuple[tuple[float, float], ...]:
        """Its outline's corners, (x, y) each, in order."""
        right, bottom = self.x + self.width, self.y + self.height
        return self.points or ((self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom))


@dataclass(frozen=True)
class Query:
    """One training image shown to experts in a round.

    ``image`` is the picture's path relative to the manifest; ``digest`` is its SHA-256;
    ``probabilities`` maps class names to the model's probabilities; ``entropy`` is theirs,
    divided by log(classes), so 0 is certain and 1 is undecided. ``earlier`` is what experts disregarded
    on it in earlier rounds: shown, not asked about. ``heat`` is the path of a small picture of
    the saliency, shown on demand; empty where there is none.
    """

    image_id: str
    image: str
    digest: str
    width: int
    height: int
    label: str
    prediction: str
    probabilities: dict[str, float]
    entropy: float
    proposals: tuple[Proposal, ...]
    earlier: tuple[Proposal, ...] = ()
    heat: str = ""  # manifests from before there were such pictures have none

    def key(self, scenario: str) -> str:
        """What makes this question the same question: its scenario, picture and regions.

        The round, the weights and the scores are left out on purpose: an expert is never
        asked about the same regions of the same picture twice.
        """
        regions = sorted((p.x, p.y, p.width, p.height, *p.points) for p in self.proposals)
        text = json.dumps([scenario, self.digest, regions], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Manifest:
    """``queries.json``: all queries of one scenario's round, most uncertain first."""

    scenario: str
    round: str
    queries: tuple[Query, ...]

    def keys(self) -> dict[str, Query]:
        """Each query by its key, in the manifest's order."""
        return {query.key(self.scenario): query for query in self.queries}

    def write(self, path: Path) -> None:
        """Write the manifest as JSON; each query carries its key for readers."""
        document = asdict(self)
        for entry, key in zip(document["queries"], self.keys(), strict=True):
            entry["key"] = key
            for proposal in [*entry["proposals"], *entry["earlier"]]:
                if not proposal["points"]:
                    del proposal["points"]
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what ``write`` wrote; raises AnnotationError when the file is not a manifest."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            queries = []
            for entry in document["queries"]:
                entry.pop("key")
                proposals, earlier = (tuple(map(_proposal, entry.pop(name, ()))) for name in ("proposals", "earlier"))
                queries.append(Query(**entry, proposals=proposals, earlier=earlier))
            return cls(document["scenario"], document["round"], tuple(queries))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(
                f"{path} is not a manifest of queries ({error}); run `dvc repro` to write it again"
            ) from error


def _proposal(entry: dict[str, Any]) -> Proposal:
    points = tuple((float(x), float(y)) for x, y in entry.pop("points", ()))
    return Proposal(**entry, points=points)


@dataclass(frozen=True)
class Answer:
    """One expert's submitted reading of one query, kept raw.

    ``result`` is Label Studio's own list of regions, untouched; ``expert`` is the account's
    e-mail; times are the server's ISO 8601 strings; ``lead_time`` is in seconds. A skipped
    query (``skipped``) is not an answer to the question, but is kept: it says who saw it.
    """

    key: str
    image_id: str
    expert: str
    annotation_id: int
    created_at: str
    updated_at: str
    lead_time: float | None
    skipped: bool
    parent_prediction: int | None
    result: list[dict[str, Any]] = field(default_factory=list)

    def version(self) -> tuple[datetime, int]:
        """Sorts answers by when they were last changed."""
        return moment(self.updated_at), self.annotation_id


def moment(text: str) -> datetime:
    """The server's ISO 8601 time (which leaves out zero microseconds)."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def write_answers(path: Path, answers: list[Answer]) -> None:
    """Write answers as JSON in a fixed order, so that the same answers are the same bytes."""
    ordered = sorted(answers, key=lambda answer: (answer.key, answer.expert, answer.annotation_id))
    text = json.dumps([asdict(answer) for answer in ordered], indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_answers(path: Path) -> list[Answer]:
    """Read what ``write_answers`` wrote; raises AnnotationError when the file is not that."""
    try:
        return [Answer(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise AnnotationError(
            f"{path} is not a list of answers ({error}); restore it from Git, or run `dvc repro`"
        ) from error
