"""evaluate: scores, predictions, curves and explanations of each arm of a scenario."""

from __future__ import annotations

from pipeline.arms import results
from pipeline.config import load
from pipeline.data import external, prepared, subset
from pipeline.evaluation import figures, groups, predictions, score_files, scores
from pipeline.paths import (
    curves_file,
    explanations_file,
    predictions_file,
    prepared_dir,
    scores_file,
    subset_file,
)
from pipeline.training import states


def main(scenario: str) -> None:
    """Write the scenario's files under report/: scores, predictions, curves and explanations."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    splits = subset.by_split(data, subset.read(subset_file(scenario), data))
    outside = external.read(config, scenario, data)
    tested = splits | {split: subset.whole(other) for split, other in outside.items()}
    images = groups.marked(predictions.images(tested, data.classes), settings.groups, data, outside)
    probes = scores.probe_images(splits, config.seed)
    disregarded, about = scores.disregarded_areas(config, scenario)
    folders = {arm: results.final_dir(config, scenario, arm) for arm in results.arms(config, scenario)}
    histories = {arm: results.history(folder) for arm, folder in folders.items()}
    found = {}
    for arm, folder in folders.items():
        state = states.restore(folder / "state.pt", settings.train)
        found[arm] = scores.evaluate_arm(
            state,
            arm=arm,
            history=histories[arm],
            data=data,
            splits=splits,
            probes=probes,
            disregarded=disregarded,
            settings=settings.query.explain,
            external=outside,
            about=about,
        )

    if not state.accelerator.is_main_process:
        return
    predictions.write(predictions_file(scenario), images, [evaluation.predictions for evaluation in found.values()])
    by_group = groups.read(predictions_file(scenario), data.classes, findings=data.findings)
    summary = {arm: evaluation.scores | groups.scores(by_group[arm]) for arm, evaluation in found.items()}
    score_files.write(scores_file(scenario), summary)
    saliency = {arm: (evaluation.saliency, evaluation.probe_predictions) for arm, evaluation in found.items()}
    figures.save(figures.explanations(probes, data.classes, saliency), explanations_file(scenario))
    figures.save(figures.curves(histories, scenario), curves_file(scenario))
    for arm, history in histories.items():
        results.write_curve(history, scenario, arm)
