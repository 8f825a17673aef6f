"""Simulated experts: they know where the evidence is, and otherwise do what a person does.

A simulated expert has its own account and API key, sees the same pre-filled regions, and
submits through the same door, so that everything between a question and a mask is exercised
without anybody sitting there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import ATTEMPTS, Unreachable, pause_s
from labelstudio.client.projects import Project
from labelstudio.exchange import regions
from labelstudio.exchange.records import AnnotationError, Answer, Manifest
from labelstudio.exchange.tasks import MODEL_VERSION, Task


class SimulatedExpert:
    """Marks a proposal as "Disregard" when less than ``threshold`` of its pixels is evidence.

    ``evidence`` maps an image id to the (height, width) mask of what may matter on it.
    ``client`` must be connected with the expert's own API key, or be None where there is no server. Of the proposals
    that are to be
    marked, ``miss_rate`` are not; of the others, ``false_alarm_rate`` are: which ones follows from
    the query, the proposal and the expert's ``number`` in the crowd alone, so that asking again gives the
    same answer, and experts err each in their own way. An answer takes ``speed_s`` seconds, on average.
    """

    def __init__(
        self,
        client: LabelStudio | None,
        evidence: Callable[[str], regions.Mask],
        threshold: float = 0.05,
        miss_rate: float = 0.0,
        false_alarm_rate: float = 0.0,
        speed_s: float = 5.0,
        number: int = 0,
    ) -> None:
        self.client = client
        self.evidence = evidence
        self.threshold = threshold
        self.miss_rate = miss_rate
        self.false_alarm_rate = false_alarm_rate
        self.speed_s = speed_s
        self.number = number

    def answer(self, project: Project, keys: Iterable[str]) -> int:
        """Answer every one of these queries that this expert has not answered; returns how many.

        The answers depend on the queries alone, and no query is answered twice.
        """
        client, wanted = self._connected(), set(keys)
        expert = client.check()
        todo = self._unanswered(project, wanted, expert)
        added = len(todo)
        failures = 0
        while todo:
            try:
                for task in todo:
                    client.annotate(task, expert, self.reading(task), self._lead_time(task.key))
            except Unreachable:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                time.sleep(pause_s(failures))
                todo = self._unanswered(project, wanted, expert)
            else:
                if todo := self._unanswered(project, wanted, expert):
                    raise AnnotationError(
                        f"{client.url} accepted the answers of {expert}, but does not list {len(todo)}"
                    )
        return added

    def answers(self, manifest: Manifest, keys: Iterable[str]) -> list[Answer]:
        """What ``answer`` would bring home from a server, without one: for experiments of many rounds."""
        wanted, nowhere = set(keys), "1970-01-01T00:00:00Z"
        found = []
        for number, (key, query) in enumerate(manifest.keys().items()):
            if key in wanted:
                prediction = {"id": number, "model_version": MODEL_VERSION, "result": regions.to_result(query)}
                result = self.reading(Task(number, key, query.image_id, [prediction], []))
                who = f"simulated-{self.number}", number, nowhere, nowhere, self._lead_time(key)
                found.append(Answer(key, query.image_id, *who, False, number, result))
        return found

    def reading(self, task: Task) -> list[dict[str, Any]]:
        """The pre-filled regions, with those relabelled that this expert says must not matter."""
        evidence = self.evidence(task.image_id)
        height, width = evidence.shape
        result = task.prediction()["result"]
        marked = {
            region["id"]
            for region in regions.joined([entry for entry in result if not entry.get("readonly")])
            if self._marks(
                f"{task.key} {region['id']}", regions.area(_fitting(region, width, height), width, height), evidence
            )
        }
        return regions.relabelled(result, marked, regions.DISREGARD)

    def _marks(self, proposal: str, region: regions.Mask, evidence: regions.Mask) -> bool:
        must_not_matter = regions.is_irrelevant(region, evidence, self.threshold)
        luck = _luck(f"{self.number} {proposal}")
        return luck >= self.miss_rate if must_not_matter else luck < self.false_alarm_rate

    def _unanswered(self, project: Project, keys: set[str], expert: str) -> list[Task]:
        """One task for each query without an answer of this expert's, by key."""
        client = self._connected()
        # Of two tasks of one query, the one that is shown.
        listed = sorted(client.tasks(project, keys), key=lambda task: not task.withdrawn)
        answered = {a.key for a in client.answers(listed) if a.expert == expert and not a.skipped}
        todo = {task.key: task for task in listed if task.key not in answered}
        return [todo[key] for key in sorted(todo)]

    def _connected(self) -> LabelStudio:
        if self.client is None:
            raise AnnotationError("this simulated expert is not connected to a Label Studio")
        return self.client

    def _lead_time(self, key: str) -> float:
        return self.speed_s * (0.5 + _luck(f"{self.number} {key}"))


def assigned(key: str, absences: Sequence[float], count: int) -> list[int]:
    """Which members of a crowd answer a query: ``count`` of those who are there, by their numbers.

    ``absences`` has the share of queries that each member never answers. Who is there, and who of them is
    chosen, follows from the query's key alone. Where fewer are there, fewer answer: nobody waits for a
    machine that will not come.
    """
    there = [number for number, absence in enumerate(absences) if _luck(f"absent {number} {key}") >= absence]
    return sorted(sorted(there, key=lambda number: _luck(f"chosen {number} {key}"))[:count])


def _luck(text: str) -> float:
    """Uniform in [0, 1), and always the same for the same text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def _fitting(region: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    if (region["original_width"], region["original_height"]) != (width, height):
        raise AnnotationError(
            f"the evidence is {width}×{height} pixels, but the picture that is asked about "
            f"{region['original_width']}×{region['original_height']}"
        )
    return region
