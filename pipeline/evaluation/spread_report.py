"""The report on a round's spread marks: how well marks are predicted, and examples of spread marks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.config import Scenario
from pipeline.data.loading import Images
from pipeline.evaluation import figures
from pipeline.feedback import spreading
from pipeline.feedback.masks import Entry
from pipeline.models import classifier


def write(
    folder: Path, entries: list[Entry], images: Images, settings: Scenario, classes: list[str], *, round: str
) -> None:
    """Write skill.json, and examples.png where marks were spread; without spreading, skill.json is empty.

    Args:
        folder: Where the files are written.
        entries: The masks of all rounds so far.
        images: The training images.
        settings: The scenario's settings.
        classes: The names of the classes.
        round: The round.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {}
    if settings.feedback.spread:
        network = classifier.initial(settings.init, classes, images.side)
        cells = spreading.judged_cells(entries, images, network, cell=settings.query.cell)
        skill = spreading.learn(cells, images, precision=settings.feedback.spread.precision).skill
        spread = [entry for entry in entries if entry.kind == "spread" and entry.round == round]
        found = asdict(skill) | {
            "curve": spreading.curve(cells),  # pairs: answers, AUC
            "images": len(images.ids),
            "reached": len(spread),
            "area": float(np.mean([entry.mask.mean() for entry in spread])) if spread else 0.0,
        }
        print(f"spreading: {skill.words()}; {len(spread)} of {len(images.ids)} images reached")
        if spread:
            answered = [entry for entry in entries if entry.kind == "judged" and entry.round == round][:1]
            figures.save(figures.spread(images, [*answered, *spread], classes), folder / "examples.png")
    (folder / "skill.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
