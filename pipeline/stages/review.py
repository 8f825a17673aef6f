"""review: what people read about a round: what was marked, how its experts agree, and what their marks did."""

from __future__ import annotations

import json

from labelstudio.exchange import effects
from labelstudio.exchange.records import Manifest, read_answers
from labelstudio.reading import agreement, reasons
from pipeline.config import load
from pipeline.data import prepared, subset
from pipeline.evaluation import before_after, figures, spread_report
from pipeline.feedback import masks
from pipeline.feedback.answers import known_answers
from pipeline.paths import asked_file, prepared_dir, step_dir, subset_file
from pipeline.tracking import publishing
from pipeline.training import states


def main(scenario: str, round: str, after: str) -> None:
    """Write the round's asked.png, crowd.json, spread, and effect.json with its pictures; no result depends on them."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    folder = step_dir(scenario, round)
    manifest, answers = Manifest.read(folder / "queries.json"), read_answers(folder / "answers.json")
    entries = masks.read(folder / "masks.npz")

    correct = known_answers(manifest, data, count=config.consensus.gold, evidence_share=config.annotate.evidence_share)
    crowd = agreement.report(manifest.keys(), answers, correct)
    print(f"{scenario}, round {round}: {agreement.words(crowd)}")

    figures.save(figures.queries(manifest, folder, entries), asked_file(scenario, round))
    images = subset.images(data, subset.read(subset_file(scenario), data), "train")
    spread_report.write(folder / "spread", entries, images, settings, data.classes, round=round)
    compared = before_after.compare(
        before=states.restore(step_dir(scenario, after) / "state.pt", settings.train),
        after=states.restore(folder / "state.pt", settings.train),
        images=images,
        entries=entries,
        manifest=manifest,
        settings=settings.query.explain,
        folder=folder / "effect",
    )
    effects.write(folder / "effect.json", compared)
    if why := reasons.report(manifest.keys(), answers, compared):
        crowd["reasons"] = why
        print(f"  marks by reason: {reasons.words(why)}")
    (folder / "crowd.json").write_text(json.dumps(crowd, indent=1) + "\n", encoding="utf-8")
    print(effects.words({round: compared}))
    publishing.publish_reviews(config, scenario)
