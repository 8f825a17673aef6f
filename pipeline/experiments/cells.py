"""Cells: run one seed of one variant of an experiment, and store its result in a small file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pipeline.arms import results
from pipeline.choices import Method
from pipeline.config import Config, fingerprint
from pipeline.data import prepared
from pipeline.data.prepared import Prepared
from pipeline.evaluation import scores
from pipeline.experiments import catalogue
from pipeline.experiments.loop import Loop, Outcome
from pipeline.feedback import masks
from pipeline.models import files
from pipeline.models.backbones import pretrained
from pipeline.paths import backbone_file, prepared_dir
from pipeline.sources import preparing
from pipeline.training import checkpoints
from pipeline.training.metrics import classification

RESULTS = Path("experiments")  # in Git
WORK = Path("data/experiments")  # temporary: every file here can be computed again
# The columns of the history that a result keeps
CURVE = ["epoch", "step", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "test_loss"]
CURVE += ["test_accuracy", "test_auc", "test-shifted_loss", "test-shifted_accuracy", "test-shifted_auc", "penalty"]

Result = dict[str, Any]


def path(experiment: str, variant: str, seed: int) -> Path:
    """Return the file of a cell's result."""
    return RESULTS / experiment / f"{'-'.join([*variant.replace(',', '').split(), f'seed{seed}'])}.json"


def result(experiment: str, variant: str, seed: int) -> Result | None:
    """Return the result of a cell with the present settings, or None if no such cell has run.

    A cell of another experiment with the same settings counts as well.
    """
    about, wanted = catalogue.EXPERIMENTS[experiment], _digest(experiment, variant, seed)
    for place in (path(experiment, variant, seed), *sorted(RESULTS.glob(f"*/*seed{seed}.json"))):
        if place.exists():
            found: Result = json.loads(place.read_text(encoding="utf-8"))
            enough = set(about.arms) <= set(found["arms"]) and set(about.explainers) <= set(found["looks"])
            if found["settings"] == wanted and enough:
                return found
    return None


def run(experiment: str, variant: str, seed: int) -> Result:
    """Train the arms of a cell that have no result, and write the cell's file.

    An interrupted cell resumes after its last epoch. Where an arm is new, `hitl` is trained once more, because placebos
    follow its masks; the results that were there stay.
    """
    began = time.monotonic()
    about, config = catalogue.EXPERIMENTS[experiment], catalogue.settings(experiment, variant, seed=seed)
    checkpoint_dir = WORK / "checkpoints" / experiment / path(experiment, variant, seed).stem
    resumed = checkpoint_dir.exists()
    loop = begin(
        config,
        about.scenario,
        folder=WORK / "starts",
        checkpoint_dir=checkpoint_dir,
        each_epoch=about.each_epoch,
    )
    forms = {
        arm: loop.with_settings(catalogue.settings(experiment, variant, seed=seed, others=changes))
        for arm, changes in about.forms.items()
    }
    target, digest = path(experiment, variant, seed), _digest(experiment, variant, seed)
    kept = _arms(target, digest, about.explainers)
    missing = tuple(arm for arm in about.arms if arm not in kept or arm == "hitl")
    outcomes = train_arms(loop, missing, given=about.variants[variant].get(catalogue.GIVEN), forms=forms)
    hitl = outcomes.get("hitl")
    disregarded = masks.marked(hitl.entries) if hitl and about.explainers else None
    new = {
        arm: arm_result(loop, arm, outcome, disregarded=disregarded, explainers=about.explainers)
        for arm, outcome in outcomes.items()
        if arm not in kept
    }
    arms = {**new, **kept}
    found = {
        "settings": digest,
        "looks": about.explainers,
        # The duration of a cell that was interrupted, or got a new arm, is unknown.
        "minutes": None if resumed or kept else round((time.monotonic() - began) / 60, 1),
        "rounds": [[r.round, r.answers, round(r.seconds, 1)] for r in hitl.rounds] if hitl else [],
        "arms": {arm: arms[arm] for arm in ("baseline", *about.arms)},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")
    half.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    os.replace(half, target)
    checkpoints.clear(checkpoint_dir)
    return found


def _arms(target: Path, digest: str, explainers: tuple[Method, ...]) -> Result:
    """Return the results by arm that a cell's file has, with these settings and explainers."""
    if not target.exists():
        return {}
    stored = json.loads(target.read_text(encoding="utf-8"))
    valid = stored["settings"] == digest and set(explainers) == set(stored["looks"])
    return dict(stored["arms"]) if valid else {}


def begin(
    config: Config, scenario: str, *, folder: Path, checkpoint_dir: Path | None = None, each_epoch: bool = True
) -> Loop:
    """Prepare the data and the backbones of a scenario, and return its loop.

    Args:
        config: All settings.
        scenario: The scenario's name.
        folder: The folder in which cells share equal baselines.
        checkpoint_dir: Where epochs are stored to be resumed; None stores none.
        each_epoch: Whether all splits are read after each epoch, and not val alone.

    Returns:
        The loop, before any training.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    with FileLock(WORK / "preparing.lock"):  # cells run side by side; one of them prepares
        data = _prepared(config, config.scenario(scenario).dataset)
        _backbones(config)
    start = folder / _start_key(config, scenario)
    return Loop(config, scenario, data=data, folder=start, checkpoint_dir=checkpoint_dir, each_epoch=each_epoch)


def train_arms(
    loop: Loop, arms: tuple[str, ...], *, given: float | None, forms: Mapping[str, Loop] | None = None
) -> dict[str, Outcome]:
    """Train the baseline and the arms, in this order.

    With ``given``, `hitl` is trained with given masks on this share of the training images, in place of answers.
    ``forms`` has the loop of each arm that asks experts as `hitl` does, with other settings.
    """
    outcomes = {"baseline": loop.baseline()}
    for arm in arms:
        if forms and arm in forms:
            outcomes[arm] = forms[arm].arm("hitl")
        elif arm == "hitl" and given is not None:
            outcomes[arm] = loop.given(given)
        else:
            outcomes[arm] = loop.arm(arm, outcomes.get("hitl"))
    return outcomes


def arm_result(
    loop: Loop,
    arm: str,
    outcome: Outcome,
    *,
    disregarded: Mapping[str, NDArray[np.float32]] | None,
    explainers: tuple[Method, ...],
) -> Result:
    """Return an arm's part of a cell's result.

    Args:
        loop: The scenario with one seed.
        arm: The arm's name.
        outcome: The arm's final state and history.
        disregarded: W (S, S) by image id, on which attention is measured; None measures none.
        explainers: The explainers that measure attention.

    Returns:
        The report's summary as ``numbers``; one packed bit per image and split in ``right``, 1 for a correct
        prediction; and the history as ``curve``.
    """
    read = scores.held_out_logits(outcome.state, loop.images)
    numbers = results.summary(outcome.history, arm)
    for split, z in read.items():
        if f"{split}_loss" not in numbers:  # it was not read after each epoch
            numbers |= {f"{split}_{name}": value for name, value in classification(z, loop.images[split].labels)}
    numbers |= scores.class_and_group_scores(read, data=loop.data, splits=loop.images)
    if loop.settings.query.prefill:
        numbers |= _gestures(outcome)
    if disregarded is not None:
        numbers |= scores.attention_scores(
            outcome.state,
            splits=loop.images,
            disregarded=disregarded,
            data=loop.data,
            settings=loop.settings.query.explain,
            methods=explainers,
        )
    task = outcome.state.model.task
    right = {split: task.right(z, loop.images[split].labels).numpy() for split, z in read.items()}
    curve = outcome.history[[column for column in CURVE if column in outcome.history]]
    return {
        "numbers": {name: round(value, 5) for name, value in numbers.items()},
        "right": {split: np.packbits(row).tobytes().hex() for split, row in right.items() if split != "val"},
        "curve": json.loads(curve.round(5).to_json(orient="split", index=False)),
    }


def _gestures(outcome: Outcome) -> dict[str, float]:
    """Return the clicks and keys of an answer, in the first and on average in the next rounds; 0 without answers."""
    first, *others = [cost.gestures for cost in outcome.rounds] or [0.0]
    return {"gestures_first_round": first, "gestures_next_rounds": float(np.mean(others or [0.0]))}


def _prepared(config: Config, dataset: str) -> Prepared:
    """Return the prepared data set; prepare it first if there is none with these settings."""
    made_with = prepared_dir(dataset) / "experiments.json"
    wanted = fingerprint(config.datasets[dataset])
    if not made_with.exists() or made_with.read_text(encoding="utf-8") != wanted:
        preparing.prepare(dataset, config.datasets[dataset], prepared_dir(dataset))
        made_with.write_text(wanted, encoding="utf-8")
    return prepared.read(prepared_dir(dataset))


def _backbones(config: Config) -> None:
    """Write the backbones that are missing."""
    for name, backbone in config.backbones.items():
        if not backbone_file(name).exists():
            files.write(pretrained(name, backbone, config.seed), backbone_file(name))


def _start_key(config: Config, scenario: str) -> str:
    """Return a digest of every setting that a baseline depends on."""
    settings = config.scenario(scenario)
    data = config.datasets[settings.dataset]
    refit = [settings.feedback.refit] if settings.feedback.refit else []
    return fingerprint(scenario, data, settings.fraction, settings.init, settings.train, config.seed, *refit)


@cache
def _digest(experiment: str, variant: str, seed: int) -> str:
    """Return a digest of every setting that a cell's result depends on."""
    about, config = catalogue.EXPERIMENTS[experiment], catalogue.settings(experiment, variant, seed=seed)
    settings = config.scenario(about.scenario)
    known = [config.datasets[settings.dataset], settings, config.annotate, config.consensus, *config.hitl.rounds]
    given = about.variants[variant].get(catalogue.GIVEN)
    forms = [
        catalogue.settings(experiment, variant, seed=seed, others=changes).scenario(about.scenario)
        for changes in about.forms.values()
    ]
    return fingerprint(about.scenario, *known, given, seed, *forms)
