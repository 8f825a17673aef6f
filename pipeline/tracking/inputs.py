"""The data sets of an arm's run in MLflow: its training images, its test sets, and the experts' answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.data import labels, prepared, subset
from pipeline.data.prepared import Prepared
from pipeline.paths import prepared_dir, step_dir, subset_file

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput

DIGEST = 36  # characters in a data set's digest: MLflow's limit
CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}  # also of val-shifted and the like


def images(config: Config, scenario: str) -> Iterator[DatasetInput]:
    """Yield the scenario's part of the training images, and each of the other splits."""
    name = config.scenario(scenario).dataset
    data = prepared.read(prepared_dir(name))
    for split, rows in subset.read(subset_file(scenario), data).groupby("split", sort=False):
        chosen = f"{subset.HEADER}{data.digest}" + "\n".join(rows["id"])
        yield _input(
            f"{scenario}, {split}" if split == "train" else f"{name}, {split}",
            context=CONTEXTS[str(split).partition("-")[0]],
            source=prepared_dir(name),
            digest=hashlib.sha256(chosen.encode()),
            profile={"images": len(rows), **_counts(rows["label"], data)},
        )


def _counts(given: pd.Series, data: Prepared) -> dict[str, int]:
    """Return the number of images of each class, or with each finding."""
    found = labels.members(given, data.classes, findings=data.findings).sum()
    return {str(name): int(count) for name, count in found.items() if count}


def answers(config: Config, scenario: str) -> DatasetInput:
    """Return the answers of all rounds, which a placebo follows too."""
    files = [step_dir(scenario, entry.n) / "answers.json" for entry in config.hitl.rounds]
    given = [answer for file in files for answer in json.loads(file.read_text(encoding="utf-8"))]
    return _input(
        f"{scenario}, answers",
        context="feedback",
        source=step_dir(scenario, ""),
        digest=hashlib.sha256(b"".join(file.read_bytes() for file in files)),
        profile={"answers": len(given), "experts": len({answer["expert"] for answer in given})},
    )


def _input(name: str, *, context: str, source: Path, digest: Any, profile: dict[str, int]) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=name,
        digest=digest.hexdigest()[:DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(source)}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
