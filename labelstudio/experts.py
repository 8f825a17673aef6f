"""Simulated experts: they know where the evidence is, and otherwise do what a person does.

A simulated expert has its own account and API key, sees the same pre-filled regions, and
submits through the same door, so that everything between a question and a mask is exercised
without anybody sitting there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from labelstudio import regions
from labelstudio.client import LabelStudio, Task
from labelstudio.projects import Project
from labelstudio.records import AnnotationError
from labelstudio.transport import ATTEMPTS, Unreachable, pause_s


class SimulatedExpert:
    """Marks a proposal as "Disregard" when less than ``threshold`` of its pixels is evidence.

    ``evidence`` maps an image id to the (height, width) mask of what may matter on it.
    ``client`` must be connected with the expert's own API key. Of the proposals that are to be
    marked, ``miss_rate`` are not; of the others, ``false_alarm_rate`` are: which ones follows from
    the query and the proposal alone, so that asking again gives the same answer.
    """

    def __init__(
        self,
        client: LabelStudio,
        evidence: Callable[[str], regions.Mask],
        threshold: float = 0.05,
        miss_rate: float = 0.0,
        false_alarm_rate: float = 0.0,
    ) -> None:
        self.client = client
        self.evidence = evidence
        self.threshold = threshold
        self.miss_rate = miss_rate
        self.false_alarm_rate = false_alarm_rate

    def answer(self, project: Project, keys: Iterable[str]) -> int:
        """Answer every one of these queries that this expert has not answered; returns how many.

        The answers depend on the queries alone, and no query is answered twice.
        """
        wanted = set(keys)
        expert = self.client.check()
        todo = self._unanswered(project, wanted, expert)
        added = len(todo)
        failures = 0
        while todo:
            try:
                for task in todo:
                    result = self.reading(task)
                    # A plausible time, and the same one in every run.
                    self.client.annotate(task, expert, result, lead_time=2.0 + 0.5 * len(result))
            except Unreachable:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                time.sleep(pause_s(failures))
                todo = self._unanswered(project, wanted, expert)
            else:
                if todo := self._unanswered(project, wanted, expert):
                    raise AnnotationError(
                        f"{self.client.url} accepted the answers of {expert}, but does not list {len(todo)}"
                    )
        return added

    def reading(self, task: Task) -> list[dict[str, Any]]:
        """The pre-filled regions, with those relabelled that this expert says must not matter."""
        evidence = self.evidence(task.image_id)
        height, width = evidence.shape
        result = task.prediction()["result"]
        marked = {
            region["id"]
            for region in regions.joined(result)
            if self._marks(
                f"{task.key} {region['id']}", regions.area(_fitting(region, width, height), width, height), evidence
            )
        }
        return regions.relabelled(result, marked, regions.DISREGARD)

    def _marks(self, proposal: str, region: regions.Mask, evidence: regions.Mask) -> bool:
        must_not_matter = bool(region.any()) and float(evidence[region].mean()) < self.threshold
        luck = int(hashlib.sha256(proposal.encode()).hexdigest()[:12], 16) / 16**12  # uniform in [0, 1)
        return luck >= self.miss_rate if must_not_matter else luck < self.false_alarm_rate

    def _unanswered(self, project: Project, keys: set[str], expert: str) -> list[Task]:
        """One task for each query without an answer of this expert's, by key."""
        answered = {a.key for a in self.client.pull(project, keys) if a.expert == expert and not a.skipped}
        todo = {task.key: task for task in self.client.tasks(project, keys) if task.key not in answered}
        return [todo[key] for key in sorted(todo)]


def _fitting(region: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    if (region["original_width"], region["original_height"]) != (width, height):
        raise AnnotationError(
            f"the evidence is {width}×{height} pixels, but the picture that is asked about "
            f"{region['original_width']}×{region['original_height']}"
        )
    return region
