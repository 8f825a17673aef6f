"""compare: all scenarios side by side: the table, the figures for DVC, MLflow's page rebuilt, the experts told."""

from __future__ import annotations

import json

from labelstudio import server
from labelstudio.client import LabelStudio
from labelstudio.records import AnnotationError, read_answers
from pipeline import report, subset, tracking
from pipeline.config import Config, ConfigError, load
from pipeline.datasets import prepared
from pipeline.paths import REPORT, prepared_dir, scores_file, step_dir, subset_file
from pipeline.projects import project_title, show_effects
from pipeline.stages import run


def main() -> None:
    """Write report/metrics.json and report/table.md, put both and every run into MLflow, and tell the experts."""
    config = load()
    metrics = {scenario: _metrics(scenario) for scenario in config.scenarios}
    table = report.table(metrics, {scenario: _size(config, scenario) for scenario in config.scenarios})
    words = [report.meaning(name, metrics[name], _answers(config, name)) for name in config.hitl.scenarios]
    REPORT.mkdir(exist_ok=True)
    (REPORT / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(words) + "\n\n" + table
    (REPORT / "table.md").write_text(text, encoding="utf-8")
    tracking.publish_all(config, note=text)
    print(f"{REPORT / 'table.md'}:\n\n" + "\n\n".join(words))
    if config.hitl.scenarios:
        show(config)


def show(config: Config) -> None:
    """Show the experts what every round's marks did, the last one's too, after which annotate does not run again.

    Nothing that DVC keeps depends on it: where no Label Studio is running, that is said, and all is well.
    """
    try:
        if not server.is_there():
            raise AnnotationError(
                "no Label Studio is running; `python -m labelstudio.server start` starts the local one"
            )
        url, api_key, _ = server.connect()
        client = LabelStudio(url, api_key)
        client.check()
        for scenario in config.hitl.scenarios:
            data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
            project = client.ensure_project(
                project_title(scenario, config, data.digest), config.annotate.experts_per_query
            )
            show_effects(client, project, scenario, config)
    except AnnotationError as error:
        print(f"\nwarning: what the marks did is not shown to the experts: {error}")
        print("To show it later, run `dvc repro --force --single-item compare`")


def _metrics(scenario: str) -> dict[str, dict[str, float]]:
    path = scores_file(scenario)
    try:
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path} ({error}); run `dvc repro` to write it again") from error


def _size(config: Config, scenario: str) -> str:
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    chosen = subset.read(subset_file(scenario), data)
    return f"{int((chosen['split'] == 'train').sum())}, {len(data.classes)}"


def _answers(config: Config, scenario: str) -> int:
    found = [read_answers(step_dir(scenario, entry.n) / "answers.json") for entry in config.hitl.rounds]
    return sum(not answer.skipped for answers in found for answer in answers)


if __name__ == "__main__":
    run(main)
