"""What became of the experts' marks, to be shown back to them: where the model looked before and after.

Its attention is the absolute saliency of the class that it had predicted when the image was asked about.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from labelstudio.exchange.records import AnnotationError, Manifest, Query


@dataclass(frozen=True)
class Effect:
    """One marked image: the share (0..1) of the model's attention inside the marks, before and after a round.

    ``picture`` shows both; its path is relative to the round's effect.json.
    """

    image_id: str
    picture: str
    before: float
    after: float


def write(path: Path, effects: list[Effect]) -> None:
    """Write a round's effects as JSON."""
    path.write_text(json.dumps([asdict(effect) for effect in effects], indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Effect]:
    """Read what ``write`` wrote; raises AnnotationError when the file is not that."""
    try:
        return [Effect(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise AnnotationError(
            f"{path} does not say what a round's marks did ({error}); run `dvc repro` to write it again"
        ) from error


def manifest(scenario: str, n: str, effects: list[Effect], folder: Path) -> Manifest:
    """A round's pictures in ``folder`` as queries that ask nothing, so that they travel the same road.

    Instead of the truth and the prediction, each carries the share before and after, which effect.xml shows.
    """
    queries = []
    for effect in effects:
        path = folder / effect.picture
        with Image.open(path) as picture:
            width, height = picture.size
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shares = f"{effect.before:.0%}", f"{effect.after:.0%}"
        queries.append(Query(effect.image_id, effect.picture, digest, width, height, *shares, {}, 1.0, ()))
    return Manifest(scenario, n, tuple(queries))


def words(rounds: dict[str, list[Effect]]) -> str:
    """What the rounds so far have done, for the people who marked; "" where nothing has been marked yet."""
    lines = []
    for n, effects in rounds.items():
        if effects:
            before, after = (sum(getattr(e, when) for e in effects) / len(effects) for when in ("before", "after"))
            images = "1 image" if len(effects) == 1 else f"{len(effects)} images"
            lines.append(
                f"Round {n}: experts marked something on {images}. Of the model's attention there, {before:.0%} lay "
                f"inside the marks; after it had learned from them, {after:.0%}."
            )
    return "\n".join(["What your marks have done so far.", *lines]) if lines else ""
