"""hitl-train: turn a round's answers into masks and train on with all masks so far in force."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labelstudio.exchange import before_after as effects
from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Manifest, read_answers
from labelstudio.reading import agreement, consensus
from labelstudio.reading.verdicts import Verdict, contradiction, removed, summary, verdict
from pipeline import tracking
from pipeline.arms import results
from pipeline.config import Consensus, load
from pipeline.data import prepared, subset
from pipeline.data.prepared import Prepared
from pipeline.evaluation import before_after, figures
from pipeline.feedback import masks
from pipeline.paths import asked_file, prepared_dir, step_dir, subset_file
from pipeline.training import checkpoints, trainer


def main(scenario: str, round: str, after: str, epochs: str) -> None:
    """Write the round's state, all masks, the history so far, how its experts agreed, what was marked, what it did."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    before, folder = step_dir(scenario, after), step_dir(scenario, round)
    manifest, answers = Manifest.read(folder / "queries.json"), read_answers(folder / "answers.json")
    known = gold(manifest, data, config.consensus.gold, config.annotate.evidence_share)
    crowd = agreement.report(manifest.keys(), answers, known)
    print(f"{scenario}, round {round}: {agreement.words(crowd)}")

    new = to_entries(manifest, answers, config.consensus)
    entries = [*masks.read(before / "masks.npz"), *new]
    in_force = masks.in_force(entries)
    print(f"{scenario}, round {round}: {summary(answers, manifest.keys())}; masks on {len(in_force)} images in force")

    state = trainer.restore(before / "state.pt", settings.train)
    marked = [entry for entry in entries if entry.round == round and entry.mask.any()]
    looked_at = (images["train"], marked, manifest, settings.query.explain)
    looked = before_after.attention(state, *looked_at)
    step = (state, images, settings, config.seed, int(epochs), round)
    history = trainer.train(*step, masks=in_force, checkpoint_dir=checkpoints.FOLDER)
    looks = before_after.attention(state, *looked_at)
    if not state.accelerator.is_main_process:
        return

    (folder / "crowd.json").write_text(json.dumps(crowd, indent=1) + "\n", encoding="utf-8")
    masks.write(folder / "masks.npz", entries)
    figures.save(figures.queries(manifest, folder, entries), asked_file(scenario, round))
    seen = before_after.show(images["train"], marked, looked, looks, folder / "effect")
    effects.write(folder / "effect.json", seen)
    print(effects.words({round: seen}))

    so_far = pd.concat([results.history(before), history])
    so_far.to_csv(folder / "history.csv", index=False)
    trainer.save(state, folder / "state.pt")
    checkpoints.clear(checkpoints.FOLDER)
    tracking.publish(config, scenario, "hitl", through=round)


def gold(manifest: Manifest, data: Prepared, count: int, threshold: float) -> dict[str, NDArray[np.bool_]]:
    """By key, which proposals (P,) must be marked, for ``count`` of the queries whose evidence is known.

    Which ones they are nobody can tell from outside: they are asked like all others.
    """
    known = set(data.index.loc[data.index["evidence"].notna(), "id"])
    queries = manifest.keys()
    chosen = sorted(key for key, query in queries.items() if query.image_id in known)[:count]
    found = {}
    for key in chosen:
        query = queries[key]
        evidence = data.evidence(query.image_id)
        areas = [regions.pixels(proposal, query.width, query.height) for proposal in query.proposals]
        found[key] = np.array([regions.is_irrelevant(area, evidence, threshold) for area in areas], bool)
    return found


def to_entries(manifest: Manifest, answers: list[Answer], settings: Consensus) -> list[masks.Entry]:
    """The experts' consensus on each query that somebody answered."""
    queries = manifest.keys()
    for answer in answers:
        if answer.key in queries and not answer.skipped:
            query = queries[answer.key]
            if said := contradiction(answer):
                print(f"{answer.expert} on {query.image_id}: {said}")
            if verdict(answer, query) in (Verdict.MARKED, Verdict.REMOVED) and (count := removed(answer, query)):
                print(
                    f"{answer.expert} on {query.image_id}: {count} of {len(query.proposals)} outlines removed: no marks"
                )
            for unused in regions.mask(answer.result, query.width, query.height)[1]:
                print(f"{answer.expert} on {query.image_id}: not used: {unused}")
    found = consensus.weights(queries, answers, settings.rule, settings.soft)
    answered = {answer.key for answer in answers if not answer.skipped}
    return [
        # What nobody could judge has been shown all the same, and is not shown again.
        masks.Entry.of(
            manifest.round,
            query.image_id,
            found.get(key, np.zeros((query.height, query.width), np.float32)),
            regions.owners(query) >= 0,
        )
        for key, query in queries.items()
        if key in answered
    ]
