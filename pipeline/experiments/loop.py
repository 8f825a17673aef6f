"""The loop in one process, without DVC and Label Studio: for simulated experts and many seeds.

Each step calls the library function that the stage calls. So the same settings and seed give the same weights as
`dvc repro`, byte for byte; a test compares them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from filelock import FileLock

from labelstudio.reading import corrections
from pipeline.annotation import crowd
from pipeline.arms.baseline import train_baseline
from pipeline.arms.hitl import train_round
from pipeline.arms.masktune import masktune
from pipeline.arms.placebos import placebo
from pipeline.arms.replay import train_rounds
from pipeline.choices import Placebo
from pipeline.config import Config, Penalty, Scenario
from pipeline.data import subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.feedback import masks
from pipeline.query.selection import select
from pipeline.training import states
from pipeline.training.states import State


@dataclass(frozen=True)
class RoundCost:
    """The cost of a round: the number of answers, the experts' time in seconds, and the gestures of an answer."""

    round: str
    answers: int
    seconds: float
    gestures: float  # mean clicks and keys; see labelstudio/reading/corrections.py


@dataclass
class Outcome:
    """The result of training an arm.

    Attributes:
        state: The final state.
        history: The arm's own epochs, one row each.
        entries: The masks of all rounds.
        rounds: The cost of each round, for `hitl` with experts only.
    """

    state: State
    history: pd.DataFrame
    entries: list[masks.Entry]
    rounds: list[RoundCost]


class Loop:
    """The arms of one scenario with one seed.

    The baseline and `automated` do not depend on experts. They are stored in a folder, and all cells with equal
    settings share them.
    """

    def __init__(
        self,
        config: Config,
        scenario: str,
        *,
        data: Prepared,
        folder: Path,
        checkpoint_dir: Path | None = None,
        each_epoch: bool = True,
    ) -> None:
        """Choose the training images of the scenario.

        Args:
            config: All settings, with the seed.
            scenario: The scenario's name.
            data: The scenario's prepared data set.
            folder: The folder of the shared results.
            checkpoint_dir: Where epochs are stored to be resumed; None stores none.
            each_epoch: Whether all splits are read after each epoch, and not val alone: a large test split takes longer
                to read than an epoch of few images takes to train.
        """
        self.config, self.name, self.data, self.folder = config, scenario, data, folder
        self.checkpoint_dir = checkpoint_dir
        self.settings: Scenario = config.scenario(scenario)
        self.images: dict[str, Images] = subset.by_split(data, subset.choose(data, self.settings.fraction, config.seed))
        self.read = {name: self.images[name] for name in (self.images if each_epoch else ("train", "val"))}

    def with_settings(self, config: Config) -> Loop:
        """Return the loop with other settings; its images and its baseline are the same ones."""
        other = copy(self)
        other.config, other.settings = config, config.scenario(self.name)
        return other

    def baseline(self) -> Outcome:
        """Train without feedback; every other arm starts from this state."""
        return self._once("start", self._train_baseline)

    def arm(self, arm: str, hitl: Outcome | None = None) -> Outcome:
        """Train an arm; a placebo needs the outcome of `hitl`.

        Two arms ask nobody: `masktune` (see `pipeline.arms.masktune`), and `exact-masks`. The latter shows what
        spreading could reach at most: it has the right masks of all images whose evidence is known.
        """
        if arm == "hitl":
            return self._hitl()
        if arm == "exact-masks":
            return self.given(1.0)
        if arm == "masktune":
            return self._trained_on(masktune(self._start(), self.images["train"], round=self.config.hitl.rounds[0].n))
        if arm == "automated":
            epochs = "-".join(str(entry.epochs) for entry in self.config.hitl.rounds)
            return self._once(f"automated-{epochs}", lambda: self._replay([]))
        if hitl is None:
            raise ValueError(f"the placebo {arm!r} needs the outcome of `hitl`")
        entries, penalty = placebo(
            cast(Placebo, arm),
            hitl.entries,
            penalty=self.settings.penalty,
            cell=self.settings.query.cell,
            seed=self.config.seed,
        )
        return self._trained_on(entries, penalty)

    def given(self, share: float) -> Outcome:
        """Train with given masks on a random share of the training images; W is 1 everywhere but on the evidence.

        Images whose evidence is not known have no mask.
        """
        ids = self.images["train"].ids
        chosen = sorted(np.random.default_rng(self.config.seed).permutation(len(ids))[: round(share * len(ids))])
        evidence = ((ids[n], self.data.known_evidence(ids[n])) for n in chosen)
        areas = [(image_id, ~area) for image_id, area in evidence if area is not None]
        first = self.config.hitl.rounds[0].n
        return self._trained_on([masks.Entry.of(first, i, area.astype(np.float32), area) for i, area in areas])

    def _train_baseline(self) -> tuple[State, pd.DataFrame]:
        return train_baseline(
            self.read,
            self.settings,
            self.data.classes,
            seed=self.config.seed,
            checkpoint_dir=self.checkpoint_dir,
        )

    def _hitl(self) -> Outcome:
        state, entries = self._start(), list[masks.Entry]()
        history, rounds = [], []
        for entry in self.config.hitl.rounds:
            with tempfile.TemporaryDirectory() as folder:
                manifest = select(
                    state,
                    self.images["train"],
                    entries=entries,
                    scenario=self.name,
                    round=entry.n,
                    count=entry.queries,
                    settings=self.settings,
                    seed=self.config.seed,
                    folder=Path(folder),
                )
            answers = crowd.answers(manifest, self.config.annotate, self.data.known_evidence)
            entries, trained = train_round(
                state,
                self.read,
                self.settings,
                manifest=manifest,
                answers=answers,
                earlier=entries,
                consensus=self.config.consensus,
                seed=self.config.seed,
                epochs=entry.epochs,
                checkpoint_dir=self.checkpoint_dir,
            )
            history.append(trained)
            seconds = sum(answer.lead_time or 0 for answer in answers)
            found = corrections.report(manifest.keys(), answers)
            gestures = (found["clicks"] or 0) + (found["keys"] or 0)
            rounds.append(RoundCost(entry.n, len(answers), seconds, gestures))
        return Outcome(state, pd.concat(history, ignore_index=True), entries, rounds)

    def _trained_on(self, entries: list[masks.Entry], penalty: Penalty | None = None) -> Outcome:
        state, history = self._replay(entries, penalty)
        return Outcome(state, history, entries, [])

    def _replay(self, entries: list[masks.Entry], penalty: Penalty | None = None) -> tuple[State, pd.DataFrame]:
        """Train the epochs of all rounds from the baseline, with these masks; None is the scenario's penalty."""
        state = self._start()
        history = train_rounds(
            state,
            self.read,
            self.settings.model_copy(update={"penalty": penalty or self.settings.penalty}),
            seed=self.config.seed,
            rounds=self.config.hitl.rounds,
            entries=entries,
            checkpoint_dir=self.checkpoint_dir,
        )
        return state, history

    def _once(self, name: str, train: Callable[[], tuple[State, pd.DataFrame]]) -> Outcome:
        """Return a shared result; the first cell that needs the result trains and stores it."""
        path = self.folder / f"{name}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                state, history = train()
                history.to_csv(path.with_suffix(".csv"), index=False)
                states.save(state, path)
        history = pd.read_csv(path.with_suffix(".csv"), dtype={"step": str})
        return Outcome(states.restore(path, self.settings.train), history, [], [])

    def _start(self) -> State:
        """Return the state of the stored baseline."""
        return states.restore(self.folder / "start.pt", self.settings.train)
