"""`lookaway search`: compare settings on images that no result is reported on.

These images are val-shifted if the data set has it, else training images that the scenario leaves out, else val. A
search never reads test images. Finished trials are in experiments/search/ and do not run again.
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

from pipeline.choices import BatchNorm, Form, Output, Strategy
from pipeline.config import Config
from pipeline.data import subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.evaluation.statistics import mean_over_seeds, show
from pipeline.experiments import catalogue, cells, tables
from pipeline.experiments.experiment import Changes
from pipeline.experiments.runner import check_names
from pipeline.report.table import Table, markdown

FOLDER = cells.RESULTS / "search"
SPARE = 600  # largest number of left-out training images that a search reads
SCORES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
SPLITS = {"val": "val", "val-shifted": "val-shifted", "spare": "training images that are left out"}


class Tried(NamedTuple):
    """The settings of a trial that differ from the experiment's settings; None keeps the experiment's value.

    Attributes:
        form: The penalty's form.
        output: The output that is differentiated.
        weight: The penalty's weight, lambda.
        batchnorm: The mode of BatchNorm's statistics.
        strategy: The query strategy.
        epochs: The epochs of the last round.
    """

    form: Form
    output: Output
    weight: float
    batchnorm: BatchNorm
    strategy: Strategy | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Search:
    """The settings to compare for one variant of an experiment.

    Attributes:
        experiment: The experiment's name.
        variant: The variant's name.
        tried: The settings to compare, with seed 0.
        arms: The arms that are trained with each of these settings.
        finalists: The settings that also run with seeds 1 and 2.
    """

    experiment: str
    variant: str
    tried: tuple[Tried, ...]
    arms: tuple[str, ...]
    finalists: tuple[Tried, ...] = ()

    def trials(self) -> list[tuple[Tried, int]]:
        """Return the settings and the seed of each trial."""
        first = [(tried, 0) for tried in self.tried]
        return first + [(tried, seed) for seed in (1, 2) for tried in self.finalists]


SHORTCUT = (
    Tried("eq2", "projection", 0.001, "frozen"),
    Tried("eq2", "projection", 0.01, "frozen"),
    Tried("share", "predicted", 10.0, "frozen"),
    Tried("share", "projection", 10.0, "frozen"),
    Tried("share", "projection", 50.0, "frozen"),
    Tried("eq2", "projection", 0.001, "settled"),
    Tried("eq2", "projection", 0.01, "settled"),
    Tried("share", "predicted", 10.0, "settled"),
    Tried("share", "projection", 10.0, "settled"),
    Tried("share", "projection", 50.0, "settled"),
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
    "decoy-digits": Search("decoy-digits", "", tried=SHORTCUT, arms=ARMS, finalists=(SHORTCUT[0], SHORTCUT[4])),
    "decoy-mnist-20pct": Search("decoy-mnist", "20pct", tried=MASKS, arms=("hitl",)),
    "isic2017": Search("isic2017", "", tried=LESIONS, arms=ARMS),
    "idrid-10pct": Search("idrid", "10pct", tried=RETINAS, arms=ARMS),
    "isic2017-patches-entropy": Search("isic2017-patches", "entropy", tried=PATCHES, arms=ARMS),
    "isic2017-patches-random": Search("isic2017-patches", "random", tried=PATCHES[2:], arms=ARMS),
}


def main(names: list[str], *, jobs: int | None) -> None:
    """Run the trials without a result, and write the tables of all searches.

    Args:
        names: Names of searches; an empty list means all searches.
        jobs: The number of trials that run at a time, one core each; None means one per core.

    Raises:
        ConfigError: A name is unknown.
    """
    check_names(names, SEARCHES, kind="search")
    wanted = [(name, tried, seed) for name in names or SEARCHES for tried, seed in SEARCHES[name].trials()]
    todo = [(name, tried, seed) for name, tried, seed in wanted if not path(name, tried, seed).exists()]
    print(f"{len(todo)} of {len(wanted)} trials to run", flush=True)
    with ProcessPoolExecutor(jobs or os.cpu_count()) as pool:
        for (name, tried, seed), _ in zip(todo, pool.map(_run, todo), strict=True):
            print(f"done: {path(name, tried, seed)}", flush=True)
            _write_tables()
    _write_tables()


def path(name: str, tried: Tried, seed: int) -> Path:
    """Return the file of a trial's result."""
    parts = (tried.form, tried.output, f"{tried.weight:g}", tried.batchnorm, tried.strategy, tried.epochs)
    return FOLDER / name / f"{'-'.join(str(part) for part in parts if part is not None)}-seed{seed}.json"


def table(name: str) -> Table:
    """Return a search's table: a row for each setting, with each arm's final score and lowest loss."""
    search, found = SEARCHES[name], _found(name)
    first = next(iter(found.values()))
    title = f"{name}: {SCORES[first['score']]} of the last epoch / lowest loss, on {SPLITS[first['read on']]}"
    rows = []
    for tried in search.tried:
        seeds = [trial for (which, _), trial in found.items() if which == tried]
        if seeds:
            penalty = [tried.form, tried.output, f"{tried.weight:g}", tried.batchnorm]
            results = [_score_and_loss([seed["arms"][arm] for seed in seeds]) for arm in search.arms]
            rows.append([*penalty, _strategy_and_epochs(search, tried), str(len(seeds)), *results])
    return Table(title, ["Form", "Output", "Lambda", "BatchNorm", "Strategy, epochs", "Seeds", *search.arms], rows)


def held_out(images: dict[str, Images], data: Prepared) -> tuple[dict[str, Images], str]:
    """Return the splits without test images, and the name of the split that the search reads."""
    kept = {split: some for split, some in images.items() if not split.startswith("test")}
    if "val-shifted" in kept:
        return kept, "val-shifted"
    index: pd.DataFrame = data.index.loc[data.index["split"] == "train"]
    left = index.loc[~index["id"].isin(images["train"].ids)]
    if left.empty:
        return kept, "val"
    some = left.iloc[np.sort(np.random.default_rng(0).permutation(len(left))[:SPARE])]
    return kept | {"spare": subset.images(data, some.assign(split="spare"), "spare")}, "spare"


def _write_tables() -> None:
    tables.put("search", "".join(markdown(table(name)) for name in SEARCHES if _found(name)))


def _strategy_and_epochs(search: Search, tried: Tried) -> str:
    """Return the query strategy and the epochs of the rounds of a trial."""
    config = _settings(search, tried, 0)
    strategy = config.scenario(catalogue.EXPERIMENTS[search.experiment].scenario).query.strategy
    return f"{strategy}, {'+'.join(str(entry.epochs) for entry in config.hitl.rounds)}"


def _score_and_loss(seeds: list[dict[str, float]]) -> str:
    """Return an arm's final score and its lowest loss, over seeds."""
    score, loss = (mean_over_seeds(np.array([seed[key] for seed in seeds])) for key in ("score", "min_loss"))
    return f"{show(score, digits=3)} / {show(loss)}"


def _found(name: str) -> dict[tuple[Tried, int], dict[str, Any]]:
    """Return the results of a search's finished trials by settings and seed."""
    files = {(tried, seed): path(name, tried, seed) for tried, seed in SEARCHES[name].trials()}
    return {trial: json.loads(file.read_text(encoding="utf-8")) for trial, file in files.items() if file.exists()}


def _run(trial: tuple[str, Tried, int]) -> None:
    """Run a trial on one core, and write its result: several trials run at a time."""
    import torch

    torch.set_num_threads(1)
    name, tried, seed = trial
    search = SEARCHES[name]
    config = _settings(search, tried, seed)
    scenario = catalogue.EXPERIMENTS[search.experiment].scenario
    loop = cells.begin(config, scenario, folder=cells.WORK / "search")
    loop.images, split = held_out(loop.images, loop.data)
    # With two classes, the AUC: on ISIC, a network at first predicts few melanomas, so its accuracy says little.
    score = "auc" if len(loop.data.classes) == 2 else "balanced_accuracy"
    given = catalogue.EXPERIMENTS[search.experiment].variants[search.variant].get(catalogue.GIVEN)
    arms = {
        arm: {
            "score": float(outcome.history[f"{split}_{score}"].iloc[-1]),
            "min_loss": float(outcome.history[f"{split}_loss"].min()),
        }
        for arm, outcome in cells.train_arms(loop, search.arms, given=given).items()
    }
    target = path(name, tried, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"read on": split, "score": score, "arms": arms}, indent=0) + "\n", encoding="utf-8")


def _settings(search: Search, tried: Tried, seed: int) -> Config:
    """Return all settings of a trial."""
    about = catalogue.EXPERIMENTS[search.experiment]
    penalty = {"form": tried.form, "output": tried.output, "weight": tried.weight}
    changes: Changes = {"scenario.penalty": penalty, "scenario.train.batchnorm": tried.batchnorm}
    if tried.strategy:
        changes["scenario.query.strategy"] = tried.strategy
    if tried.epochs:
        *before, last = about.changes["hitl.rounds"]
        changes["hitl.rounds"] = [*before, last | {"epochs": tried.epochs}]
    return catalogue.settings(search.experiment, search.variant, seed=seed, others=changes)
