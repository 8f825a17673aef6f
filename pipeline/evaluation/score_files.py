"""The scores of each arm as a file, written by `evaluate` and read by `compare`, which needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import naming_damage

Scores = dict[str, float]  # metric → value


def write(path: Path, scores: dict[str, Scores]) -> None:
    """Write the scores of each arm as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Scores]:
    """Return the scores of each arm; raises DamagedFileError if the file is missing or damaged."""
    with naming_damage(path):
        found: dict[str, Scores] = json.loads(path.read_text(encoding="utf-8"))
        return found
