"""The comparison of all scenarios: gathered from the files of earlier stages, written as JSON and Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from labelstudio.exchange.records import read_answers, submitted
from pipeline.config import Config
from pipeline.data import prepared, subset
from pipeline.evaluation import groups, predictions, score_files
from pipeline.evaluation.groups import Groups
from pipeline.evaluation.predictions import ByArm
from pipeline.evaluation.score_files import Scores
from pipeline.paths import REPORT, predictions_file, prepared_dir, scores_file, step_dir, subset_file


@dataclass(frozen=True)
class Result:
    """The result of one scenario.

    Attributes:
        images: The number of training images.
        classes: The number of classes.
        answers: The number of answers from experts, 0 for a scenario without rounds.
        scores: The scores of each arm.
        outcomes: The outcomes of each arm and split.
        groups: The groups of each arm; empty without ``groups`` in the scenario.
    """

    images: int
    classes: int
    answers: int
    scores: dict[str, Scores]
    outcomes: ByArm
    groups: dict[str, Groups] = field(default_factory=dict)


def gather(config: Config) -> dict[str, Result]:
    """Return the result of each scenario; raises DamagedFileError if a file is missing or damaged."""
    return {scenario: _result(config, scenario) for scenario in config.scenarios}


def write(results: dict[str, Result], parts: list[str]) -> None:
    """Write report/metrics.json with the scores, and report/table.md with these parts."""
    REPORT.mkdir(exist_ok=True)
    metrics = {scenario: result.scores for scenario, result in results.items()}
    (REPORT / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (REPORT / "table.md").write_text("".join(parts), encoding="utf-8")


def _result(config: Config, scenario: str) -> Result:
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    chosen = subset.read(subset_file(scenario), data)
    return Result(
        images=int((chosen["split"] == "train").sum()),
        classes=len(data.classes),
        answers=_answers(config, scenario),
        scores=score_files.read(scores_file(scenario)),
        outcomes=predictions.read(predictions_file(scenario)),
        groups=groups.read(predictions_file(scenario), data.classes, findings=data.findings),
    )


def _answers(config: Config, scenario: str) -> int:
    if scenario not in config.hitl.scenarios:
        return 0
    found = [read_answers(step_dir(scenario, entry.n) / "answers.json") for entry in config.hitl.rounds]
    return sum(submitted(answers) for answers in found)
