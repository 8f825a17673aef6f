"""hitl-train: turn a round's answers into masks and train on with all masks so far in force."""

from __future__ import annotations

import pandas as pd

from labelstudio import regions
from labelstudio.consensus import disregarded
from labelstudio.records import Answer, Manifest, read_answers
from labelstudio.verdicts import contradiction, summary
from pipeline import masks, runs, subset, tracking, training
from pipeline.config import load
from pipeline.datasets import prepared
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.stages import run


def main(scenario: str, round: str, after: str, epochs: str) -> None:
    """Write the round's state, all masks so far, and the history so far."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    images = subset.by_split(data, subset.read(subset_file(scenario), data))
    before, folder = step_dir(scenario, after), step_dir(scenario, round)
    answers = read_answers(folder / "answers.json")
    entries = masks.read(before / "masks.npz") + to_entries(Manifest.read(folder / "queries.json"), answers)
    in_force = masks.in_force(entries)
    print(f"{scenario}, round {round}: {summary(answers)}; masks on {len(in_force)} images in force")

    state = training.restore(before / "state.pt", settings.train)
    history = training.train(state, images, settings, config.seed, int(epochs), round, masks=in_force)

    masks.write(folder / "masks.npz", entries, data.images.shape[1])
    so_far = pd.concat([runs.history(before), history])
    so_far.to_csv(folder / "history.csv", index=False)
    training.save(state, folder / "state.pt")
    tracking.publish(config, scenario, "hitl", through=round)


def to_entries(manifest: Manifest, answers: list[Answer]) -> list[masks.Entry]:
    """The experts' consensus on each query that somebody answered."""
    entries = []
    for key, query in manifest.keys().items():
        given = [answer for answer in answers if answer.key == key and not answer.skipped]
        if given:
            shown = regions.owners(query) >= 0
            for answer in given:
                if said := contradiction(answer):
                    print(f"{answer.expert} on {query.image_id}: {said}")
                for unused in regions.mask(answer.result, query.width, query.height)[1]:
                    print(f"{answer.expert} on {query.image_id}: not used: {unused}")
            marked = disregarded(given, query.width, query.height)
            entries.append(masks.Entry(manifest.round, query.image_id, marked, shown))
    return entries


if __name__ == "__main__":
    run(main, "scenario", "round", "after", "epochs")
