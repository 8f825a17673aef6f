"""What a round's marks did: where the network looked on the marked images before and after training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelstudio.exchange.before_after import Effect
from labelstudio.exchange.records import Manifest
from pipeline.config import Explain
from pipeline.data.loading import Images
from pipeline.evaluation import figures
from pipeline.evaluation.attention import share_inside
from pipeline.feedback import masks
from pipeline.query.explanations import explain
from pipeline.training.trainer import State

EXPLAINED_AT_ONCE = 16  # images

Maps = dict[str, NDArray[np.float32]]  # image id → (S, S)


def attention(state: State, images: Images, entries: list[masks.Entry], manifest: Manifest, settings: Explain) -> Maps:
    """Signed saliency (S, S) of each entry's image, for the class that was predicted when it was asked about."""
    classes = state.model.classes
    predicted = {query.image_id: classes.index(query.prediction) for query in manifest.queries}
    position = {image_id: n for n, image_id in enumerate(images.ids)}
    ids = [entry.image_id for entry in entries]
    found: Maps = {}
    for start in range(0, len(ids), EXPLAINED_AT_ONCE):
        some = ids[start : start + EXPLAINED_AT_ONCE]
        target = torch.tensor([predicted[image_id] for image_id in some])
        maps = explain(state, images.pixels[[position[image_id] for image_id in some]], target, settings)
        found |= dict(zip(some, maps, strict=True))
    return found


def show(images: Images, entries: list[masks.Entry], before: Maps, after: Maps, folder: Path) -> list[Effect]:
    """Draw each entry's image with its marks, before and after, as <image id>.png in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    position = {image_id: n for n, image_id in enumerate(images.ids)}
    effects = []
    for entry in entries:
        maps = [when[entry.image_id] for when in (before, after)]
        shares = [round(share_inside(saliency, entry.mask), 4) for saliency in maps]
        picture = images.pixels[[position[entry.image_id]]][0]
        path = folder / f"{entry.image_id}.png"
        figures.save(figures.effect(picture, entry.mask, maps, shares), path)
        effects.append(Effect(entry.image_id, f"{folder.name}/{path.name}", *shares))
    return effects
