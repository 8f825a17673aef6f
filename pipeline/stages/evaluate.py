"""evaluate: what each arm of a scenario came to, and what its network looks at, before and after."""

from __future__ import annotations

import json

import pandas as pd
import torch

from pipeline import pictures, runs, subset, training
from pipeline.config import Config, curves_file, explanations_file, load, prepared_dir, scores_file, subset_file
from pipeline.datasets import prepared
from pipeline.explain import explain
from pipeline.stages import run

PROBES = 6  # images explained by every arm's final network: always the same ones


def main(scenario: str) -> None:
    """Write the scenario's scores, curves and explanations under report/."""
    config = load()
    histories = {arm: runs.history(runs.final_dir(config, scenario, arm)) for arm in runs.arms(config)}
    scores = {arm: runs.summary(history, arm) for arm, history in histories.items()}
    save_explanations(config, scenario)
    pictures.save(pictures.curves(histories, scenario), curves_file(scenario))
    long = pd.concat([history.assign(arm=arm) for arm, history in histories.items()])
    long.to_csv(curves_file(scenario).with_suffix(".csv"), index=False)
    scores_file(scenario).parent.mkdir(parents=True, exist_ok=True)
    scores_file(scenario).write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


def save_explanations(config: Config, scenario: str) -> None:
    """DeepLIFT of every arm's final network on the same few images of the hardest test split."""
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    splits = subset.by_split(data, subset.read(subset_file(scenario), data))
    probes = splits["test-shifted" if "test-shifted" in splits else "test"]
    some = torch.randperm(len(probes.ids), generator=torch.Generator().manual_seed(config.seed))[:PROBES].tolist()
    pixels = probes.pixels[some]
    saliency = {}
    for arm in runs.arms(config):
        state = training.restore(runs.final_dir(config, scenario, arm) / "state.pt", settings.train)
        read_as = training.logits(state, pixels).argmax(dim=1)
        saliency[arm] = (explain(state, pixels, read_as), [data.classes[int(c)] for c in read_as])
    titles = [f"{probes.ids[i]}: {data.classes[int(probes.labels[i])]}" for i in some]
    figure = pictures.explanations(pixels, titles, saliency)
    pictures.save(figure, explanations_file(scenario))


if __name__ == "__main__":
    run(main, "scenario")
