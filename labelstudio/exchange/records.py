"""Queries and answers, the records that pass between the pipeline and the experts, and their files.

Lengths are whole pixels of the query's picture: x to the right, y down, from its top left corner. A query does
not depend on the clock, a server or a run. So the same training asks the same question, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

Identity = tuple[str, int, datetime]  # of an answer: its query's key, its number, its first submission
NOBODY = "deleted-account"  # begins the name of an expert whose account is no longer known


class AnnotationError(Exception):
    """Annotating failed; the message names the cause, the place and the remedy."""


@contextmanager
def naming_damage(path: Path, *, kind: str, fix: str) -> Iterator[None]:
    """Turn errors while reading ``path`` into an AnnotationError: the file is missing or is not of this kind."""
    try:
        yield
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror}. Fix: {fix}.") from error
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{path} is not {kind}: line {error.lineno} is not JSON. Fix: {fix}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path} is not {kind}: an entry has missing, unknown or damaged fields. Fix: {fix}."
        ) from error


@dataclass(frozen=True)
class Proposal:
    """One region shown on a query, in pixels: a rectangle, or a polygon.

    Attributes:
        id: A name, unique on the query, derived from the geometry alone.
        x: The left side of the rectangle, or of the polygon's bounding box.
        y: The upper side of this rectangle or box.
        width: The width of this rectangle or box.
        height: The height of this rectangle or box.
        score: The region's share of the image's saliency, 0 to 1.
        points: The polygon's corners, (x, y) each; empty for a rectangle.
        prefilled: True if experts see it marked already, because they are expected to mark it. It is no part of the id.
    """

    id: str
    x: int
    y: int
    width: int
    height: int
    score: float
    points: tuple[tuple[float, float], ...] = ()
    prefilled: bool = False

    def corners(self) -> tuple[tuple[float, float], ...]:
        """Return the outline's corners, (x, y) each, in order."""
        right, bottom = self.x + self.width, self.y + self.height
        return self.points or ((self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom))


@dataclass(frozen=True)
class Query:
    """One training image shown to experts in a round.

    Attributes:
        image_id: The image's id in the data set.
        image: Path of its picture, relative to the manifest.
        digest: SHA-256 of the picture.
        width: Width of the picture.
        height: Height of the picture.
        label: The true class, or the truth about the finding in words.
        prediction: The class that the model predicts, or its prediction of the finding in words.
        probabilities: The model's probability of each class, by the class's name.
        entropy: Entropy of the probabilities divided by log(classes): 0 is certain, 1 is undecided.
        proposals: The regions that experts judge.
        earlier: The marks of earlier rounds, which experts see but do not judge.
        heat: Path of a small picture of the saliency, relative to the manifest; "" if there is none.
        blind: True if experts see neither the proposals nor the saliency. It is no part of the key: the answer counts
            all the same.
        finding: The finding that the query is about, and that its marks belong to; "" for one class an image.
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
    heat: str = ""  # old manifests have no such pictures
    blind: bool = False
    finding: str = ""

    def key(self, scenario: str) -> str:
        """Return the query's identity: a digest of its scenario, picture, regions and finding.

        The round, the model and the scores do not count. So no expert judges the same regions of the same picture
        twice.
        """
        regions = sorted((p.x, p.y, p.width, p.height, *p.points) for p in self.proposals)
        about = [self.finding] if self.finding else []
        text = json.dumps([scenario, self.digest, regions, *about], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Manifest:
    """All queries of one scenario's round, the most uncertain first: the file ``queries.json``."""

    scenario: str
    round: str
    queries: tuple[Query, ...]

    def keys(self) -> dict[str, Query]:
        """Return each query by its key, in the manifest's order."""
        return {query.key(self.scenario): query for query in self.queries}

    def write(self, path: Path) -> None:
        """Write the manifest as JSON; each query's key is written too, for people and other programs."""
        document = asdict(self)
        for entry, key in zip(document["queries"], self.keys(), strict=True):
            entry["key"] = key
            for name in ("blind", "finding"):
                if not entry[name]:
                    del entry[name]
            for proposal in [*entry["proposals"], *entry["earlier"]]:
                for name in ("points", "prefilled"):
                    if not proposal[name]:
                        del proposal[name]
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest; raise AnnotationError if the file is missing or is not a manifest."""
        with naming_damage(path, kind="a manifest of queries", fix="run `dvc repro` to write it again"):
            document = json.loads(path.read_text(encoding="utf-8"))
            queries = []
            for entry in document["queries"]:
                entry.pop("key")
                proposals, earlier = (tuple(map(_proposal, entry.pop(name, ()))) for name in ("proposals", "earlier"))
                queries.append(Query(**entry, proposals=proposals, earlier=earlier))
            return cls(document["scenario"], document["round"], tuple(queries))


def _proposal(entry: dict[str, Any]) -> Proposal:
    points = tuple((float(x), float(y)) for x, y in entry.pop("points", ()))
    return Proposal(**entry, points=points)


@dataclass(frozen=True)
class Answer:
    """One expert's submitted reading of one query, kept raw.

    Attributes:
        key: The query's key.
        image_id: The image's id in the data set.
        expert: The expert's name: the e-mail address under which the account was first seen (see ``authors``).
        annotation_id: The annotation's number on the server.
        created_at: The server's time of the first submission, ISO 8601.
        updated_at: The server's time of the last change, ISO 8601.
        lead_time: The time that the expert took, in seconds.
        skipped: True if the expert skipped the query: then the answer only says who saw the query.
        parent_prediction: Number of the prediction from which the expert started.
        result: Label Studio's own list of regions, unchanged.
        account: The account's number on the server; None for a deleted account, and in old files.
        blind: True if the expert saw no proposals.
        decides: True if the answer decides a query on which experts disagree.
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
    account: int | None = None
    blind: bool = False
    decides: bool = False

    def identity(self) -> Identity:
        """Return the part of an answer that never changes, even if its account is renamed or deleted.

        Numbers recur when a server loses its data, so the time of the first submission tells the servers apart.
        """
        return self.key, self.annotation_id, moment(self.created_at)

    def version(self) -> tuple[datetime, int]:
        """Return a sort key: the time of the last change."""
        return moment(self.updated_at), self.annotation_id

    def author(self) -> tuple[str, str, bool]:
        """Return whose answer to what it is: an expert's own answer to a query, or the expert's decision on it."""
        return self.key, self.expert, self.decides

    def plain(self) -> dict[str, Any]:
        """Return the answer's fields as JSON; the last two only if they are true, as old files have none of them."""
        return {name: value for name, value in asdict(self).items() if name not in ("blind", "decides") or value}


FIELDS = {field.name for field in fields(Answer)}


def moment(text: str) -> datetime:
    """Return the server's ISO 8601 time as a datetime; the text has no microseconds where they are zero."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def write_answers(path: Path, answers: list[Answer]) -> None:
    """Write answers as JSON in a fixed order, so that the same answers give the same bytes."""
    ordered = sorted(answers, key=lambda answer: (answer.key, answer.expert, answer.annotation_id))
    text = json.dumps([answer.plain() for answer in ordered], indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_answers(path: Path) -> list[Answer]:
    """Read a file of answers, each once; raise AnnotationError if the file is missing or is no list of answers."""
    with naming_damage(path, kind="a list of answers", fix="restore it from Git, or run `dvc repro`"):
        answers = [read_answer(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        # Old files may have an answer twice: under its expert's name, and as a deleted account's.
        kept = {a.identity(): a for a in sorted(answers, key=lambda answer: not answer.expert.startswith(NOBODY))}
    if twice := len(answers) - len(kept):
        print(f"{path}: {twice} answers have two names, since their accounts were deleted; each counts once")
    return [answer for answer in answers if answer is kept[answer.identity()]]


def submitted(answers: list[Answer]) -> int:
    """Count the answers: of several submissions of one expert to a query, and of skips, only the last submission."""
    return len({answer.author() for answer in answers if not answer.skipped})


def read_answer(entry: dict[str, Any]) -> Answer:
    """Return the answer in a file's entry; an entry of another version may lack new fields and have unknown ones."""
    answer = Answer(**{name: value for name, value in entry.items() if name in FIELDS})
    _check_kinds(answer)
    answer.version(), answer.identity()  # a damaged time is found here, with the name of the file
    if answer.expert == f"{NOBODY}-None":  # old files have one name for all deleted accounts
        return replace(answer, expert=nobody(answer.annotation_id))
    return answer


def nobody(annotation_id: int) -> str:
    """Return the name of a deleted account that never had another name.

    Nobody can tell whether two such answers have one author. Each gets a name of its own, so that no answer takes the
    place of another.
    """
    return f"{NOBODY}-of-answer-{annotation_id}"


def _check_kinds(answer: Answer) -> None:
    """Raise TypeError if a field is of another kind, as an edited file may have."""
    texts = (answer.key, answer.image_id, answer.expert, answer.created_at, answer.updated_at)
    if not all(isinstance(text, str) for text in texts) or not isinstance(answer.annotation_id, int):
        raise TypeError
    if not all(isinstance(word, bool) for word in (answer.skipped, answer.blind, answer.decides)):
        raise TypeError
    if not isinstance(answer.result, list):
        raise TypeError
