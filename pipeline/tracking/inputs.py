"""The data sets of an arm's run in MLflow: its training images, its test sets, and the experts' answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.data import own_csv
from pipeline.paths import prepared_dir, step_dir, subset_file

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.tracking import MlflowClient

DIGEST = 36  # characters in a data set's digest: MLflow's limit
WITHOUT_ANSWERS = ("baseline", "automated")
CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}  # also of val-shifted and the like


def log(client: MlflowClient, run_id: str, *, config: Config, scenario: str, arm: str) -> None:
    """Log the arm's inputs; MLflow keeps an input that the run has already as it is.

    Args:
        client: MLflow.
        run_id: The arm's run.
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name; a placebo follows the answers of `hitl`.
    """
    inputs = [*_images(config, scenario)]
    if arm not in WITHOUT_ANSWERS:
        inputs.append(_answers(config, scenario))
    client.log_inputs(run_id, inputs)


def _images(config: Config, scenario: str) -> Iterator[DatasetInput]:
    """Yield the scenario's part of the training images, and each of the other splits."""
    name = config.scenario(scenario).dataset
    text = own_csv.text_of(subset_file(scenario))
    splits = own_csv.read(text.partition("\n")[2]).groupby("split", sort=False)
    for split, rows in splits:
        chosen = text.partition("\n")[0] + "\n".join(rows["id"])  # the first line is the prepared data's digest
        yield _input(
            f"{scenario}, {split}" if split == "train" else f"{name}, {split}",
            context=CONTEXTS[str(split).partition("-")[0]],
            source=prepared_dir(name),
            digest=hashlib.sha256(chosen.encode()),
            profile={"images": len(rows), **rows["label"].value_counts().sort_index().to_dict()},
        )


def _answers(config: Config, scenario: str) -> DatasetInput:
    """Return the answers of all rounds."""
    files = [step_dir(scenario, entry.n) / "answers.json" for entry in config.hitl.rounds]
    answers = [answer for file in files for answer in json.loads(file.read_text(encoding="utf-8"))]
    return _input(
        f"{scenario}, answers",
        context="feedback",
        source=step_dir(scenario, ""),
        digest=hashlib.sha256(b"".join(file.read_bytes() for file in files)),
        profile={"answers": len(answers), "experts": len({answer["expert"] for answer in answers})},
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
