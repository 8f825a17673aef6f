"""The loop as the stages run it, in one process and without Label Studio: for simulated experts and many seeds.

Every step is the library function that the stage calls, so the same settings and seed give the same weights, byte for
byte (a test compares them). Files, DVC and the server are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from filelock import FileLock

from pipeline.annotation import crowd
from pipeline.arms.baseline import train_baseline
from pipeline.arms.hitl import train_round
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
class Asked:
    """One round: the number of answers, and the experts' time, seconds."""

    round: str
    answers: int
    seconds: float


@dataclass
class Outcome:
    """An arm's result: its final state, its own epochs, the masks it was trained with, and its rounds."""

    state: State
    history: pd.DataFrame
    entries: list[masks.Entry]
    rounds: list[Asked]


class Loop:
    """One scenario with one seed.

    ``folder`` keeps results that do not depend on experts, for all cells that share them. With the ``checkpoint_dir``
    of another process, training resumes after that process's last epoch.
    """

    def __init__(
        self,
        config: Config,
        scenario: str,
        *,
        data: Prepared,
        folder: Path,
        checkpoint_dir: Path | None = None,
    ) -> None:
        self.config, self.name, self.data, self.folder = config, scenario, data, folder
        self.checkpoint_dir = checkpoint_dir
        self.settings: Scenario = config.scenario(scenario)
        self.images: dict[str, Images] = subset.by_split(data, subset.choose(data, self.settings.fraction, config.seed))

    def baseline(self) -> Outcome:
        """Train without feedback; every other arm starts from here."""
        return self._once("start", self._train_baseline)

    def arm(self, arm: str, hitl: Outcome | None = None) -> Outcome:
        """Train `hitl`, `automated`, or a placebo, which follows the given outcome of `hitl`."""
        if arm == "hitl":
            return self._hitl()
        if arm == "automated":
            epochs = "-".join(str(entry.epochs) for entry in self.config.hitl.rounds)
            return self._once(f"automated-{epochs}", lambda: self._replay([], self.settings.penalty))
        assert hitl is not None
        entries, penalty = placebo(
            cast(Placebo, arm),
            hitl.entries,
            penalty=self.settings.penalty,
            cell=self.settings.query.cell,
            seed=self.config.seed,
        )
        return Outcome(*self._replay(entries, penalty), entries, [])

    def given(self, share: float) -> Outcome:
        """Train with masks on a random share of the training images, in place of `hitl`: W is all but the evidence."""
        ids = self.images["train"].ids
        chosen = sorted(np.random.default_rng(self.config.seed).permutation(len(ids))[: round(share * len(ids))])
        areas = ((ids[n], ~self.data.evidence(ids[n])) for n in chosen)
        first = self.config.hitl.rounds[0].n
        entries = [masks.Entry.of(first, image_id, area.astype(np.float32), area) for image_id, area in areas]
        return Outcome(*self._replay(entries, self.settings.penalty), entries, [])

    def _train_baseline(self) -> tuple[State, pd.DataFrame]:
        return train_baseline(
            self.images,
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
                    settings=self.settings.query,
                    seed=self.config.seed,
                    folder=Path(folder),
                )
            answers = crowd.answers(manifest, self.config.annotate, self.data.evidence)
            entries, trained = train_round(
                state,
                self.images,
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
            rounds.append(Asked(entry.n, len(answers), sum(answer.lead_time or 0 for answer in answers)))
        return Outcome(state, pd.concat(history, ignore_index=True), entries, rounds)

    def _replay(self, entries: list[masks.Entry], penalty: Penalty) -> tuple[State, pd.DataFrame]:
        state = self._start()
        history = train_rounds(
            state,
            self.images,
            self.settings.model_copy(update={"penalty": penalty}),
            seed=self.config.seed,
            rounds=self.config.hitl.rounds,
            entries=entries,
            checkpoint_dir=self.checkpoint_dir,
        )
        return state, history

    def _once(self, name: str, train: Callable[[], tuple[State, pd.DataFrame]]) -> Outcome:
        """Return a result that several cells share; the first cell that needs it trains it."""
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
        return states.restore(self.folder / "start.pt", self.settings.train)
