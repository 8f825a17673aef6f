"""`lookaway search`: settings compared on images that no result is reported on.

These images are val-shifted where there is one, and elsewhere training images that the scenario leaves out; never
test. Finished trials are in experiments/search/ and do not run again.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.config import Config
from pipeline.data import subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.evaluation.statistics import mean_over_seeds, show
from pipeline.experiments import catalogue, cells, tables
from pipeline.experiments.runner import check_names
from pipeline.report.tables import Table, markdown

FOLDER = cells.RESULTS / "search"
SPARE = 600  # training images that a scenario leaves out
SCORES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
READ = {"val": "val", "val-shifted": "val-shifted", "spare": "training images that are left out"}


class Tried(NamedTuple):
    """A penalty, what BatchNorm's statistics are under it, and what else differs from the experiment's settings."""

    form: str
    output: str
    weight: float
    batchnorm: str
    strategy: str | None = None  # which images are asked about
    epochs: int | None = None  # of the last round


@dataclass(frozen=True)
class Search:
    """What is tried for one variant of an experiment, and the arms that tell it apart.

    All is tried with seed 0, and ``finalists`` with two more.
    """

    experiment: str
    variant: str
    tried: tuple[Tried, ...]
    arms: tuple[str, ...]
    finalists: tuple[Tried, ...] = ()

    def trials(self) -> list[tuple[Tried, int]]:
        """What is tried, with which seed."""
        return [*((tried, 0) for tried in self.tried), *((tried, seed) for seed in (1, 2) for tried in self.finalists)]


SHORTCUT = tuple(
    Tried(*penalty, batchnorm)
    for batchnorm in ("frozen", "settled")
    for penalty in (
        ("eq2", "projection", 0.001),
        ("eq2", "projection", 0.01),
        ("share", "predicted", 10.0),
        ("share", "projection", 10.0),
        ("share", "projection", 50.0),
    )
)
LESIONS = (
    Tried("eq2", "ce", 0.1, "settled"),
    Tried("eq2", "ce", 0.1, "settled", strategy="random"),
    Tried("eq2", "ce", 0.1, "settled", epochs=12),
    Tried("eq2", "ce", 0.01, "settled"),
    Tried("eq2", "projection", 0.1, "settled"),
    Tried("share", "projection", 50.0, "settled"),
    Tried("share", "predicted", 100.0, "settled"),
    Tried("share", "predicted", 100.0, "settled", epochs=12),
)
RETINAS = (
    Tried("eq2", "ce", 0.1, "settled"),
    Tried("eq2", "ce", 0.001, "settled"),
    Tried("share", "predicted", 1.0, "settled"),
    Tried("share", "predicted", 10.0, "settled"),
    Tried("share", "predicted", 100.0, "settled"),
    Tried("eq2", "ce", 0.001, "settled", epochs=24),
    Tried("share", "predicted", 1.0, "settled", epochs=24),
    Tried("share", "predicted", 10.0, "settled", epochs=24),
)
PATCHES = (
    Tried("eq2", "projection", 0.1, "settled"),
    Tried("share", "predicted", 10.0, "settled"),
    Tried("share", "predicted", 100.0, "settled"),
    Tried("share", "projection", 50.0, "settled"),
)
MASKS = tuple(Tried("share", "predicted", weight, "moving") for weight in (10.0, 40.0, 200.0, 1000.0))

ARMS = ("automated", "hitl", "random-mask")
SEARCHES = {
    "decoy-digits": Search("decoy-digits", "", SHORTCUT, ARMS, (SHORTCUT[0], SHORTCUT[4])),
    "decoy-mnist-20pct": Search("decoy-mnist", "20pct", MASKS, ("hitl",)),
    "isic2017": Search("isic2017", "", LESIONS, ARMS),
    "idrid-10pct": Search("idrid", "10pct", RETINAS, ARMS),
    "isic2017-patches-entropy": Search("isic2017-patches", "entropy", PATCHES, ARMS),
    "isic2017-patches-random": Search("isic2017-patches", "random", PATCHES[2:], ARMS),
}


def main(names: list[str], *, jobs: int | None) -> None:
    """Run the trials that have no result yet, and write their tables.

    Args:
        names: Names of searches; none stands for all of them.
        jobs: How many trials to run at a time, one core each; None stands for one per core.
    """
    check_names(names, SEARCHES)
    wanted = [(name, *trial) for name in names or SEARCHES for trial in SEARCHES[name].trials()]
    todo = [one for one in wanted if not path(*one).exists()]
    print(f"{len(todo)} of {len(wanted)} trials to run", flush=True)
    with ProcessPoolExecutor(jobs or os.cpu_count()) as pool:
        for one, _ in zip(todo, pool.map(_one, todo), strict=True):
            print("===", *one, flush=True)
            tables.put("search", "".join(markdown(table(name)) for name in SEARCHES if _found(name)))


def path(name: str, tried: Tried, seed: int) -> Path:
    """Where a trial's result lies."""
    parts = (tried.form, tried.output, f"{tried.weight:g}", tried.batchnorm, tried.strategy, tried.epochs)
    return FOLDER / name / f"{'-'.join(str(part) for part in parts if part is not None)}-seed{seed}.json"


def table(name: str) -> Table:
    """A row a trial: what each arm ends at, and its lowest loss."""
    search, found = SEARCHES[name], _found(name)
    first = next(iter(found.values()))
    title = f"{name}: {SCORES[first['score']]} of the last epoch / lowest loss, on {READ[first['read on']]}"
    rows = []
    for tried in search.tried:
        seeds = [trial for (which, _), trial in found.items() if which == tried]
        if seeds:
            cells_ = [_cell([seed["arms"][arm] for seed in seeds]) for arm in search.arms]
            parts = (tried.form, tried.output, f"{tried.weight:g}", tried.batchnorm)
            rows.append([*parts, _others(search, tried), str(len(seeds)), *cells_])
    return Table(title, ["Form", "Output", "Lambda", "BatchNorm", "Asked, epochs", "Seeds", *search.arms], rows)


def _others(search: Search, tried: Tried) -> str:
    """By which strategy, and the epochs of the rounds, as the experiment has them or as tried."""
    config = _settings(search, tried, 0)
    strategy = config.scenario(catalogue.EXPERIMENTS[search.experiment].scenario).query.strategy
    return f"{strategy}, {'+'.join(str(entry.epochs) for entry in config.hitl.rounds)}"


def _cell(seeds: list[dict[str, float]]) -> str:
    score, loss = (mean_over_seeds(np.array([seed[key] for seed in seeds])) for key in ("score", "min_loss"))
    return f"{show(score, digits=3)} / {show(loss)}"


def _found(name: str) -> dict[tuple[Tried, int], dict[str, Any]]:
    trials = {trial: path(name, *trial) for trial in SEARCHES[name].trials()}
    return {key: json.loads(p.read_text(encoding="utf-8")) for key, p in trials.items() if p.exists()}


def _one(trial: tuple[str, Tried, int]) -> None:
    """One trial with one seed, on one core."""
    import torch

    torch.set_num_threads(1)
    name, tried, seed = trial
    search = SEARCHES[name]
    config = _settings(search, tried, seed)
    scenario = catalogue.EXPERIMENTS[search.experiment].scenario
    loop = cells.begin(config, scenario, folder=cells.WORK / "search")
    loop.images, split = held_out(loop.images, loop.data)
    score = "auc" if len(loop.data.classes) == 2 else "balanced_accuracy"  # few of ISIC's are called melanomas at first
    given = catalogue.EXPERIMENTS[search.experiment].variants[search.variant].get(catalogue.GIVEN)
    arms = {
        arm: {
            "score": float(outcome.history[f"{split}_{score}"].iloc[-1]),
            "min_loss": float(outcome.history[f"{split}_loss"].min()),
        }
        for arm, outcome in cells.trained(loop, search.arms, given).items()
    }
    target = path(*trial)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"read on": split, "score": score, "arms": arms}, indent=0) + "\n", encoding="utf-8")


def _settings(search: Search, tried: Tried, seed: int) -> Config:
    about = catalogue.EXPERIMENTS[search.experiment]
    penalty = {"form": tried.form, "output": tried.output, "weight": tried.weight}
    changes = {"scenario.penalty": penalty, "scenario.train.batchnorm": tried.batchnorm}
    if tried.strategy:
        changes["scenario.query.strategy"] = tried.strategy
    if tried.epochs:
        *before, last = about.changes["hitl.rounds"]
        changes["hitl.rounds"] = [*before, last | {"epochs": tried.epochs}]
    return catalogue.settings(search.experiment, search.variant, seed, changes)


def held_out(images: dict[str, Images], data: Prepared) -> tuple[dict[str, Images], str]:
    """Train, val, and what a search reads, without test; and which of them it reads."""
    kept = {split: some for split, some in images.items() if not split.startswith("test")}
    if "val-shifted" in kept:
        return kept, "val-shifted"
    index: pd.DataFrame = data.index.loc[data.index["split"] == "train"]
    left = index.loc[~index["id"].isin(images["train"].ids)]
    if left.empty:
        return kept, "val"
    some = left.iloc[np.sort(np.random.default_rng(0).permutation(len(left))[:SPARE])]
    return kept | {"spare": subset.images(data, some.assign(split="spare"), "spare")}, "spare"
