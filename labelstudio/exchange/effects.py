"""Effects: where the model looked on the marked images before and after a round's training on the marks.

The attention is the absolute saliency of the class that the model predicted when the round's queries were exported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from labelstudio.exchange.records import Manifest, Query, naming_damage


@dataclass(frozen=True)
class Effect:
    """The effect of a round's marks on one image.

    Attributes:
        image_id: The image's id in the data set.
        picture: Path of a picture of the saliency before and after, relative to the round's effect.json.
        before: Share of the model's attention on what must not matter, before the round's training, 0 to 1.
        after: The same share after the round's training.
    """

    image_id: str
    picture: str
    before: float
    after: float


def write(path: Path, effects: list[Effect]) -> None:
    """Write a round's effects as JSON."""
    path.write_text(json.dumps([asdict(effect) for effect in effects], indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Effect]:
    """Read a round's effects; raise AnnotationError if the file is missing or damaged."""
    with naming_damage(path, kind="a list of effects", fix="run `dvc repro` to write it again"):
        return [Effect(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def manifest(effects: list[Effect], *, scenario: str, round: str, folder: Path) -> Manifest:
    """Return a round's pictures as queries without proposals, so that they reach Label Studio the way queries do.

    Args:
        effects: The round's effects.
        scenario: The scenario's name.
        round: The round's number.
        folder: The folder of effect.json, to which the pictures' paths are relative.

    Returns:
        A manifest with one query for each effect. Its label and prediction are the shares before and after, which
        effect.xml shows.
    """
    queries = []
    for effect in effects:
        path = folder / effect.picture
        with Image.open(path) as picture:
            width, height = picture.size
        query = Query(
            image_id=effect.image_id,
            image=effect.picture,
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
            width=width,
            height=height,
            label=f"{effect.before:.0%}",
            prediction=f"{effect.after:.0%}",
            probabilities={},
            entropy=1.0,
            proposals=(),
        )
        queries.append(query)
    return Manifest(scenario, round, tuple(queries))


def words(rounds: dict[str, list[Effect]]) -> str:
    """Return a text for experts about the mean effects of each round; "" if no round has marks."""
    lines = [_round(n, effects) for n, effects in rounds.items() if effects]
    return "\n".join(["The effect of your marks so far:", *lines]) if lines else ""


def _round(n: str, effects: list[Effect]) -> str:
    before = sum(effect.before for effect in effects) / len(effects)
    after = sum(effect.after for effect in effects) / len(effects)
    images = "1 image" if len(effects) == 1 else f"{len(effects)} images"
    return (
        f"Round {n}: experts marked regions on {images}. Before the model learned from these marks, {before:.0%} of "
        f"its attention lay on what must not matter; afterwards, {after:.0%}."
    )
