"""The loop as the stages run it, in one process and without a Label Studio: for simulated experts and many seeds.

Every step is the stages' own function, so that the same settings and seed give the same weights, to the byte (a
test holds it to that). Only the doors in between are left out: files, DVC, the server.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from labelstudio.records import Answer, Manifest
from pipeline import masks, model, replay, subset, training
from pipeline.arms import placebo
from pipeline.config import Config, Placebo, Scenario
from pipeline.datasets.prepared import Prepared
from pipeline.loading import Images
from pipeline.stages import annotate, hitl_train, query_export
from pipeline.training import State


@dataclass(frozen=True)
class Asked:
    """One round: the answers given, and how long they took the experts, seconds."""

    round: str
    answers: int
    seconds: float


@dataclass
class Outcome:
    """What an arm came to: its final state, its own epochs, the masks it was trained with, and what that took."""

    state: State
    history: pd.DataFrame
    entries: list[masks.Entry]
    rounds: list[Asked]
    seconds: float


class Loop:
    """One scenario with one seed: its arms all start from the same weights, which ``folder`` keeps."""

    def __init__(self, config: Config, scenario: str, data: Prepared, folder: Path) -> None:
        self.config, self.name, self.data, self.folder = config, scenario, data, folder
        self.settings: Scenario = config.scenario(scenario)
        self.images: dict[str, Images] = subset.by_split(data, subset.choose(data, self.settings.fraction, config.seed))

    def baseline(self) -> Outcome:
        """Training without feedback: from the stored start, if these settings and this seed were trained before."""
        path = self.folder / "start.pt"
        if not path.exists():
            torch.manual_seed(self.config.seed)
            network = model.build(model.read(Path(self.settings.init)), self.data.classes)
            state, train = training.begin(network, self.settings.train), self.settings.train
            history = training.train(
                state, self.images, self.settings, self.config.seed, train.baseline_epochs, "start", masks=None
            )
            self.folder.mkdir(parents=True, exist_ok=True)
            history.to_csv(self.folder / "history.csv", index=False)
            training.save(state, path)
        history = pd.read_csv(self.folder / "history.csv", dtype={"step": str})
        return Outcome(self._start(), history, [], [], 0.0)

    def arm(self, arm: str, hitl: Outcome | None = None) -> Outcome:
        """`hitl`, `automated`, or a placebo, which follows the given outcome of `hitl`."""
        began = time.monotonic()
        if arm == "hitl":
            return self._hitl(began)
        entries: list[masks.Entry] = []
        penalty = self.settings.penalty
        if arm != "automated":
            assert hitl is not None
            cell = self.settings.query.cell
            entries, penalty = placebo(_placebo(arm), hitl.entries, penalty, cell, self.config.seed)
        state, settings = self._start(), self.settings.model_copy(update={"penalty": penalty})
        history = replay.train(state, self.images, settings, self.config.seed, self.config.hitl.rounds, entries)
        return Outcome(state, history, entries, [], time.monotonic() - began)

    def _hitl(self, began: float) -> Outcome:
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
            history.append(training.train(*step, masks=in_force))
            rounds.append(Asked(entry.n, len(answers), sum(answer.lead_time or 0 for answer in answers)))
        return Outcome(state, pd.concat(history, ignore_index=True), entries, rounds, time.monotonic() - began)

    def given(self, share: float) -> Outcome:
        """In place of `hitl`: a random share of the training images comes with W, all that is not evidence."""
        began = time.monotonic()
        ids = self.images["train"].ids
        chosen = sorted(np.random.default_rng(self.config.seed).permutation(len(ids))[: round(share * len(ids))])
        areas = ((ids[n], ~self.data.evidence(ids[n])) for n in chosen)
        first = self.config.hitl.rounds[0].n
        entries = [masks.Entry.of(first, image_id, area.astype(np.float32), area) for image_id, area in areas]
        state = self._start()
        history = replay.train(state, self.images, self.settings, self.config.seed, self.config.hitl.rounds, entries)
        return Outcome(state, history, entries, [], time.monotonic() - began)

    def _answers(self, manifest: Manifest) -> list[Answer]:
        settings = self.config.annotate
        crowd = annotate.crowd(manifest, settings, self.data.evidence, [None] * len(settings.crowd))
        return [answer for expert, keys in crowd for answer in expert.answers(manifest, keys)]

    def _start(self) -> State:
        return training.restore(self.folder / "start.pt", self.settings.train)


def _placebo(arm: str) -> Placebo:
    return arm  # type: ignore[return-value]  # arms.placebo raises on any other
