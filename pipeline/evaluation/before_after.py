"""The attention of the network on the marked images of a round, before and after training on the marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelstudio.exchange.effects import Effect
from labelstudio.exchange.records import Manifest
from pipeline.config import Explain
from pipeline.data.loading import Images
from pipeline.evaluation import figures
from pipeline.evaluation.attention import share_inside
from pipeline.feedback import masks
from pipeline.query.explanations import explain
from pipeline.training.states import State

EXPLAINED_AT_ONCE = 16  # images

Maps = dict[str, NDArray[np.float32]]  # image id → signed saliency (S, S)


def compare(
    *,
    before: State,
    after: State,
    images: Images,
    entries: list[masks.Entry],
    manifest: Manifest,
    settings: Explain,
    folder: Path,
) -> list[Effect]:
    """Compare the attention before and after a round, and draw a picture of each marked image.

    Args:
        before: The network that asked the round's queries.
        after: The network that was trained on the round's masks.
        images: The training images.
        entries: All masks so far. Only the entries of this round with a mark are compared.
        manifest: The round's queries.
        settings: How images are explained.
        folder: Where the pictures are written, as `<image id>.png`.

    Returns:
        One effect for each marked image, in the order of the entries.
    """
    marked = [entry for entry in entries if entry.round == manifest.round and entry.judged and entry.mask.any()]
    maps = [
        attention(state, images=images, entries=marked, manifest=manifest, settings=settings)
        for state in (before, after)
    ]
    return draw(images=images, entries=marked, before=maps[0], after=maps[1], folder=folder)


def attention(
    state: State, *, images: Images, entries: list[masks.Entry], manifest: Manifest, settings: Explain
) -> Maps:
    """Return the saliency on each entry's image.

    The explained class is the prediction in the query, or the query's finding, so that both explanations are of it.

    Args:
        state: The network.
        images: The training images.
        entries: The masks of the images to explain.
        manifest: The round's queries.
        settings: How images are explained.
    """
    classes = state.model.classes
    explained = {query.image_id: classes.index(query.finding or query.prediction) for query in manifest.queries}
    position = {image_id: n for n, image_id in enumerate(images.ids)}
    ids = [entry.image_id for entry in entries]
    found: Maps = {}
    for start in range(0, len(ids), EXPLAINED_AT_ONCE):
        some = ids[start : start + EXPLAINED_AT_ONCE]
        target = torch.tensor([explained[image_id] for image_id in some])
        maps = explain(
            state, images.pixels[[position[image_id] for image_id in some]], target=target, settings=settings
        )
        found |= dict(zip(some, maps, strict=True))
    return found


def draw(*, images: Images, entries: list[masks.Entry], before: Maps, after: Maps, folder: Path) -> list[Effect]:
    """Draw each entry's image with its marks and both saliencies, and return the shares on what must not matter.

    Args:
        images: The training images.
        entries: The masks of the images to draw.
        before: The saliency before the round, by image id.
        after: The saliency after the round, by image id.
        folder: Where the pictures are written, as `<image id>.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    position = {image_id: n for n, image_id in enumerate(images.ids)}
    effects = []
    for entry in entries:
        maps = [saliency[entry.image_id] for saliency in (before, after)]
        shares = [round(share_inside(saliency, entry.mask), 4) for saliency in maps]
        picture = images.pixels[[position[entry.image_id]]][0]
        path = folder / f"{entry.image_id}.png"
        figures.save(figures.effect(picture, entry, maps=maps, shares=shares), path)
        effects.append(Effect(entry.image_id, f"{folder.name}/{path.name}", *shares))
    return effects
