"""Draw docs/images/spreading.jpg: an answer, its spread to nine other images, and counterexamples made of them.

    .venv/bin/python docs/spreading.py

It needs ISIC 2017 with the table of artefacts in data/raw/isic2017 (docs/results/isic-ruler.md), and takes minutes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.annotation import crowd
from pipeline.arms import hitl
from pipeline.data.loading import Images, as_tensor
from pipeline.experiments import catalogue, cells
from pipeline.feedback import answers, masks
from pipeline.feedback.counterexamples import Counterexamples
from pipeline.feedback.form import DRAWS
from pipeline.query.selection import select

EXPERIMENT, VARIANT, SEED = "isic-ruler", "20 answers", 0
COLUMNS, GAP = 10, 4  # images in a row; pixels between them
TINT = np.array([214, 2, 27])


def main(path: Path) -> None:
    """Write the picture: a row of images, a row with their marks in red, and a row of counterexamples."""
    config = catalogue.settings(EXPERIMENT, VARIANT, seed=SEED)
    loop = cells.begin(config, EXPERIMENT, folder=cells.WORK / "starts", each_epoch=False)
    state, settings, images = loop.baseline().state, loop.settings, loop.images["train"]
    (first,) = config.hitl.rounds
    with tempfile.TemporaryDirectory() as folder:
        manifest = select(
            state,
            images,
            entries=[],
            scenario=EXPERIMENT,
            round=first.n,
            count=first.queries,
            settings=settings,
            seed=SEED,
            folder=Path(folder),
        )
    given = crowd.answers(manifest, config.annotate, loop.data.known_evidence)
    entries = answers.to_entries(manifest, given, config.consensus)
    entries += hitl.spread(entries, images, settings, loop.data.classes, round=first.n)
    spread, others = [entry for entry in entries if entry.kind == "spread"], COLUMNS - 1
    shown = [next(e for e in entries if e.mask.any()), *spread[:: len(spread) // others][:others]]
    some = [images.ids.index(entry.image_id) for entry in shown]
    made = Counterexamples(masks.in_force(entries), settings.feedback, images)
    draws = torch.rand(len(some), DRAWS, generator=torch.Generator().manual_seed(SEED))
    filled = made.replace(as_tensor(images.pixels[some]), some, draws)
    rows = [images.pixels[some], tinted(images, some, shown), (filled * 255).byte().permute(0, 2, 3, 1).numpy()]
    Image.fromarray(sheet(rows)).save(path, quality=88)


def tinted(images: Images, some: list[int], entries: list[masks.Entry]) -> NDArray[np.uint8]:
    """Return these images (B, S, S, 3) with their marks in red."""
    marks = np.stack([entry.mask for entry in entries])[..., None] * 0.55
    return (images.pixels[some] * (1 - marks) + TINT * marks).astype(np.uint8)


def sheet(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return rows of images (B, S, S, 3) as one picture, white between them."""
    framed = [np.pad(row, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed], axis=0)


if __name__ == "__main__":
    main(Path("docs/images/spreading.jpg"))
