"""compare: all scenarios side by side: the table, the page, DVC's figures; MLflow's page rebuilt, experts told."""

from __future__ import annotations

import json

from labelstudio.client.backend import LabelStudio
from labelstudio.exchange.records import AnnotationError, read_answers
from labelstudio.server import local
from pipeline import tracking
from pipeline.annotation.projects import project_title, show_effects
from pipeline.config import Config, load
from pipeline.data import prepared, subset
from pipeline.errors import ConfigError
from pipeline.evaluation import predictions
from pipeline.paths import PAGE, REPORT, predictions_file, prepared_dir, scores_file, step_dir, subset_file
from pipeline.report import page, tables
from pipeline.report.tables import Numbers, Result


def main() -> None:
    """Write report/metrics.json, table.md and index.html, put the table and all runs into MLflow, tell the experts."""
    config = load()
    results = {scenario: _result(config, scenario) for scenario in config.scenarios}
    words = {name: tables.meaning(name, results[name]) for name in config.hitl.scenarios}
    shown = tables.tables(results)
    REPORT.mkdir(exist_ok=True)
    metrics = {scenario: result.numbers for scenario, result in results.items()}
    (REPORT / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    said = ["\n- ".join([f"{first}\n", *more]) + "\n\n" for first, *more in words.values()]
    parts = [*said, *map(tables.markdown, shown)]
    (REPORT / "table.md").write_text("".join(parts), encoding="utf-8")
    PAGE.write_text(page.html(config, words, shown), encoding="utf-8")
    tracking.publish_all(config, note=parts)
    print(f"{REPORT / 'table.md'}, {PAGE}:\n\n{''.join(said)}")
    if config.hitl.scenarios:
        show(config)


def show(config: Config) -> None:
    """Show the experts what every round's marks did, the last one's too, after which annotate does not run again.

    Nothing that DVC keeps depends on it: where no Label Studio is running, that is said, and all is well.
    """
    try:
        if not local.is_there():
            raise AnnotationError(
                "no Label Studio is running; `python -m labelstudio.server.local start` starts the local one"
            )
        url, api_key, _ = local.connect()
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


def _result(config: Config, scenario: str) -> Result:
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    chosen = subset.read(subset_file(scenario), data)
    return Result(
        size=f"{int((chosen['split'] == 'train').sum())}, {len(data.classes)}",
        answers=_answers(config, scenario),
        numbers=_numbers(scenario),
        outcomes=predictions.read(predictions_file(scenario)),
    )


def _numbers(scenario: str) -> dict[str, Numbers]:
    path = scores_file(scenario)
    try:
        found: dict[str, Numbers] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path} ({error}); run `dvc repro` to write it again") from error


def _answers(config: Config, scenario: str) -> int:
    if scenario not in config.hitl.scenarios:
        return 0
    found = [read_answers(step_dir(scenario, entry.n) / "answers.json") for entry in config.hitl.rounds]
    return sum(not answer.skipped for answers in found for answer in answers)
