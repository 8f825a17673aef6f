"""The loop as the stages run it, in one process and without a Label Studio: for simulated experts and many seeds.

Every step is the stages' own function, so that the same settings and seed give the same weights, to the byte (a
test holds it to that). Only the doors in between are left out: files, DVC, the server.
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

from labelstudio.exchange.records import Answer, Manifest
from pipeline.arms import replay
from pipeline.arms.placebos import placebo
from pipeline.choices import Placebo
from pipeline.config import Config, Penalty, Scenario
from pipeline.data import subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.feedback import masks
from pipeline.stages import annotate, baseline, hitl_train, query_export
from pipeline.training import trainer
from pipeline.training.trainer import State


@dataclass(frozen=True)
class Asked:
    """One round: the answers given, and how long they took the experts, seconds."""

    round: str
    answers: int
    seconds: float


@dataclass
class Outcome:
    """What an arm came to: its final state, its own epochs, the masks it was trained with, who was asked."""

    state: State
    history: pd.DataFrame
    entries: list[masks.Entry]
    rounds: list[Asked]


class Loop:
    """One scenario with one seed; ``folder`` keeps what is the same whoever is asked, and however.

    Where another process has trained with the same ``checkpoint_dir``, this one goes on after its last epoch.
    """

    def __init__(
        self, config: Config, scenario: str, data: Prepared, folder: Path, checkpoint_dir: Path | None = None
    ) -> None:
        self.config, self.name, self.data, self.folder = config, scenario, data, folder
        self.checkpoint_dir = checkpoint_dir
        self.settings: Scenario = config.scenario(scenario)
        self.images: dict[str, Images] = subset.by_split(data, subset.choose(data, self.settings.fraction, config.seed))

    def baseline(self) -> Outcome:
        """Training without feedback, from where all other arms start."""
        settings, classes, seed = self.settings, self.data.classes, self.config.seed
        return self._once("start", lambda: baseline.train(self.images, settings, classes, seed, self.checkpoint_dir))

    def arm(self, arm: str, hitl: Outcome | None = None) -> Outcome:
        """`hitl`, `automated`, or a placebo, which follows the given outcome of `hitl`."""
        if arm == "hitl":
            return self._hitl()
        if arm == "automated":
            epochs = "-".join(str(entry.epochs) for entry in self.config.hitl.rounds)
            return self._once(f"automated-{epochs}", lambda: self._replay([], self.settings.penalty))
        assert hitl is not None
        penalty, cell = self.settings.penalty, self.settings.query.cell
        entries, penalty = placebo(cast(Placebo, arm), hitl.entries, penalty, cell, self.config.seed)
        return Outcome(*self._replay(entries, penalty), entries, [])

    def _hitl(self) -> Outcome:
        state, entries = self._start(), list[masks.Entry]()
        history, rounds = [], []
        for entry in self.config.hitl.rounds:
            with tempfile.TemporaryDirectory() as folder:
                pool, settings = self.images["train"], self.settings.query
                asked = (state, pool, entries, self.name, entry.n, entry.queries, settings, self.config.seed)
                manifest = query_export.export(*asked, Path(folder))
            answers = self._answers(manifest)
            new = hitl_train.to_entries(manifest, answers, self.config.consensus)
            entries += new
            in_force = masks.in_force(entries)
            step = (state, self.images, self.settings, self.config.seed, entry.epochs, entry.n)
            history.append(trainer.train(*step, masks=in_force, checkpoint_dir=self.checkpoint_dir))
            rounds.append(Asked(entry.n, len(answers), sum(answer.lead_time or 0 for answer in answers)))
        return Outcome(state, pd.concat(history, ignore_index=True), entries, rounds)

    def given(self, share: float) -> Outcome:
        """In place of `hitl`: a random share of the training images comes with W, all that is not evidence."""
        ids = self.images["train"].ids
        chosen = sorted(np.random.default_rng(self.config.seed).permutation(len(ids))[: round(share * len(ids))])
        areas = ((ids[n], ~self.data.evidence(ids[n])) for n in chosen)
        first = self.config.hitl.rounds[0].n
        entries = [masks.Entry.of(first, image_id, area.astype(np.float32), area) for image_id, area in areas]
        return Outcome(*self._replay(entries, self.settings.penalty), entries, [])

    def _replay(self, entries: list[masks.Entry], penalty: Penalty) -> tuple[State, pd.DataFrame]:
        state, settings = self._start(), self.settings.model_copy(update={"penalty": penalty})
        replayed = (self.config.seed, self.config.hitl.rounds, entries)
        return state, replay.train(state, self.images, settings, *replayed, self.checkpoint_dir)

    def _once(self, name: str, train: Callable[[], tuple[State, pd.DataFrame]]) -> Outcome:
        """What several cells share is trained by the first that needs it."""
        path = self.folder / f"{name}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                state, history = train()
                history.to_csv(path.with_suffix(".csv"), index=False)
                trainer.save(state, path)
        history = pd.read_csv(path.with_suffix(".csv"), dtype={"step": str})
        return Outcome(trainer.restore(path, self.settings.train), history, [], [])

    def _answers(self, manifest: Manifest) -> list[Answer]:
        settings = self.config.annotate
        crowd = annotate.crowd(manifest, settings, self.data.evidence, [None] * len(settings.crowd))
        return [answer for expert, keys in crowd for answer in expert.answers(manifest, keys)]

    def _start(self) -> State:
        return trainer.restore(self.folder / "start.pt", self.settings.train)
