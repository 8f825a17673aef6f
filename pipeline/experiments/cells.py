"""One seed of one variant of an experiment: run it, and keep what came of it in a small file of its own."""

from __future__ import annotations

import fcntl
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arms import results
from pipeline.config import Config, fingerprint
from pipeline.data import prepared
from pipeline.data.prepared import Prepared
from pipeline.evaluation import attention
from pipeline.experiments import catalogue
from pipeline.experiments.loop import Loop, Outcome
from pipeline.feedback import masks
from pipeline.models.classifier import pretrained, write
from pipeline.paths import backbone_file, prepared_dir
from pipeline.stages import evaluate, prepare
from pipeline.training import checkpoints

RESULTS = Path("experiments")  # in Git
WORK = Path("data/experiments")  # what can be made again
CURVE = ["epoch", "step", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "test_loss"]
CURVE += ["test_accuracy", "test_auc", "test-shifted_loss", "test-shifted_accuracy", "test-shifted_auc", "penalty"]

Result = dict[str, Any]


def path(experiment: str, variant: str, seed: int) -> Path:
    """Where a cell's result lies."""
    return RESULTS / experiment / f"{'-'.join([*variant.replace(',', '').split(), f'seed{seed}'])}.json"


def result(experiment: str, variant: str, seed: int) -> Result | None:
    """A cell's result, if it has run with the settings it has now: as this cell, or as that of another experiment."""
    about, wanted = catalogue.EXPERIMENTS[experiment], _digest(experiment, variant, seed)
    for place in (path(experiment, variant, seed), *sorted(RESULTS.glob(f"*/*seed{seed}.json"))):
        if place.exists():
            found: Result = json.loads(place.read_text(encoding="utf-8"))
            enough = set(about.arms) <= set(found["arms"]) and set(about.looks) <= set(found["looks"])
            if found["settings"] == wanted and enough:
                return found
    return None


def run(experiment: str, variant: str, seed: int) -> Result:
    """Train all arms of a cell, and write its result."""
    began = time.monotonic()
    about, config = catalogue.EXPERIMENTS[experiment], catalogue.settings(experiment, variant, seed)
    checkpoint_dir = WORK / "checkpoints" / experiment / path(experiment, variant, seed).stem
    resumed = checkpoint_dir.exists()
    loop = begin(config, about.scenario, WORK / "starts", checkpoint_dir)
    outcomes = trained(loop, about.arms, about.variants[variant].get(catalogue.GIVEN))
    hitl = outcomes.get("hitl")
    seen = hitl if about.looks else None
    arms = {arm: reading(loop, arm, outcome, seen, about.looks) for arm, outcome in outcomes.items()}
    found = {
        "settings": _digest(experiment, variant, seed),
        "looks": about.looks,
        "minutes": None if resumed else round((time.monotonic() - began) / 60, 1),
        "rounds": [[r.round, r.answers, round(r.seconds, 1)] for r in hitl.rounds] if hitl else [],
        "arms": arms,
    }
    target = path(experiment, variant, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")
    half.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    os.replace(half, target)
    checkpoints.clear(checkpoint_dir)
    return found


def begin(config: Config, scenario: str, folder: Path, checkpoint_dir: Path | None = None) -> Loop:
    """A scenario's loop, what it starts from made now if need be; cells whose baselines are the same share one."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "preparing.lock").open("w") as lock:  # of cells that run side by side, one makes it
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = _prepared(config, config.scenario(scenario).dataset)
        _backbones(config)
    return Loop(config, scenario, data, folder / _start_key(config, scenario), checkpoint_dir)


def trained(loop: Loop, arms: tuple[str, ...], given: float | None) -> dict[str, Outcome]:
    """The baseline and these arms; ``given``: such a share of the images comes with masks, and nobody is asked."""
    outcomes = {"baseline": loop.baseline()}
    for arm in arms:
        if arm == "hitl" and given is not None:
            outcomes[arm] = loop.given(given)
        else:
            outcomes[arm] = loop.arm(arm, outcomes.get("hitl"))
    return outcomes


def reading(
    loop: Loop,
    arm: str,
    outcome: Outcome,
    hitl: Outcome | None,
    methods: tuple[attention.Method, ...],
) -> Result:
    """What an arm came to: the summary that the report has, the curves, what each test image was read as."""
    read = evaluate.readings(outcome.state, loop.images)
    numbers = results.summary(outcome.history, arm) | evaluate.in_detail(read, loop.data, loop.images)
    if hitl is not None:
        marked = masks.in_force(hitl.entries)
        looked_at = (loop.images, marked, loop.data, loop.settings.query.explain)
        numbers |= evaluate.looks(outcome.state, *looked_at, methods=methods)
    right = {split: (z.argmax(dim=1) == loop.images[split].labels).numpy() for split, z in read.items()}
    curve = outcome.history[[column for column in CURVE if column in outcome.history]]
    return {
        "numbers": {name: round(value, 5) for name, value in numbers.items()},
        "right": {split: np.packbits(row).tobytes().hex() for split, row in right.items() if split != "val"},
        "curve": json.loads(curve.round(5).to_json(orient="split", index=False)),
    }


def _prepared(config: Config, dataset: str) -> Prepared:
    """The prepared data set, made now if there is none with these settings."""
    made_with = prepared_dir(dataset) / "experiments.json"
    wanted = fingerprint(config.datasets[dataset])
    if not made_with.exists() or made_with.read_text(encoding="utf-8") != wanted:
        classes, table = prepare.write_pictures(config, dataset)
        prepared.write_index(prepared_dir(dataset), dataset, classes, table)
        made_with.write_text(wanted, encoding="utf-8")
    return prepared.read(prepared_dir(dataset))


def _backbones(config: Config) -> None:
    for name, backbone in config.backbones.items():
        if not backbone_file(name).exists():
            write(pretrained(name, backbone, config.seed), backbone_file(name))


def _start_key(config: Config, scenario: str) -> str:
    """A name for all that a baseline follows from."""
    settings = config.scenario(scenario)
    data = config.datasets[settings.dataset]
    return fingerprint(scenario, data, settings.fraction, settings.init, settings.train, config.seed)


@cache
def _digest(experiment: str, variant: str, seed: int) -> str:
    """A name for all that a cell's arms follow from."""
    about, config = catalogue.EXPERIMENTS[experiment], catalogue.settings(experiment, variant, seed)
    settings = config.scenario(about.scenario)
    known = [config.datasets[settings.dataset], settings, config.annotate, config.consensus, *config.hitl.rounds]
    given = about.variants[variant].get(catalogue.GIVEN)
    return fingerprint(about.scenario, *known, given, seed)
