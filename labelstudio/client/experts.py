"""Simulated experts: programs that know the evidence and answer as a person does.

A simulated expert has its own account and API key, gets the same pre-filled regions and submits through the same
interface. So every step from a query to a mask is exercised without a person at the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import attempts
from labelstudio.client.projects import Project
from labelstudio.exchange import geometry, regions
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import AnnotationError, Answer, Manifest
from labelstudio.exchange.tasks import MODEL_VERSION, Task
from labelstudio.exchange.words import Marks, assert_known

NO_TIME = "1970-01-01T00:00:00Z"  # of an answer without a server


class SimulatedExpert:
    """An expert who marks a proposal with "Disregard" if too few of its pixels are evidence, or marks the evidence.

    Where the evidence is not known, the expert chooses "Cannot judge". Who marks the evidence draws one ellipse around
    all of it; on an image without evidence, this expert marks proposals. A query without outlines has no proposals to
    mark: there, every expert draws the ellipse, or disregards all of an image without evidence.

    The expert's errors follow from the query, the proposal and ``number`` alone. So the same query gets the same
    answer again, and each expert makes errors of its own.

    Args:
        client: A client with the expert's own API key; None without a server.
        evidence: Return an image's evidence, a (height, width) mask, for its id; None where it is not known.
        marks: What the expert marks: irrelevant proposals, or the evidence.
        threshold: The share of evidence in a proposal, 0 to 1, below which the expert marks the proposal.
        miss_rate: The share of such proposals that the expert does not mark. Of ellipses: the share that the expert
            does not draw, who then chooses "Nothing to disregard".
        false_alarm_rate: The share of the other proposals that the expert marks. Of ellipses: the share around another
            place.
        speed_s: The mean time of an answer, in seconds.
        number: The expert's number in the crowd.

    Raises:
        ValueError: ``marks`` is an unknown word.
    """

    def __init__(
        self,
        client: LabelStudio | None,
        evidence: Callable[[str], Mask | None],
        *,
        marks: Marks = "irrelevant",
        threshold: float = 0.05,
        miss_rate: float = 0.0,
        false_alarm_rate: float = 0.0,
        speed_s: float = 5.0,
        number: int = 0,
    ) -> None:
        assert_known(marks, Marks, "kind of marks")
        self.client = client
        self.evidence = evidence
        self.marks = marks
        self.threshold = threshold
        self.miss_rate = miss_rate
        self.false_alarm_rate = false_alarm_rate
        self.speed_s = speed_s
        self.number = number

    def answer(self, project: Project, keys: Iterable[str]) -> int:
        """Answer these queries at the server, each once, and return the number of new answers."""
        client, wanted = self._connected(), set(keys)
        account = client.account()
        todo = self._unanswered(project, wanted, account)
        if not todo:
            return 0
        count = len(todo)
        for attempt in attempts():
            if attempt.retry_state.attempt_number > 1:
                todo = self._unanswered(project, wanted, account)  # the server may have some of the answers
            with attempt:
                for task in todo:
                    result, seconds = self.reading(task), self._lead_time(task.key)
                    client.annotate(task, expert=f"account {account}", result=result, lead_time=seconds)
        if lost := self._unanswered(project, wanted, account):
            raise AnnotationError(
                f"{client.url} accepted the answers of {client.check()}, but does not list {len(lost)} of them. Fix: "
                f"look at the project {project.title!r} there, then run this again."
            )
        return count

    def answers(self, manifest: Manifest, keys: Iterable[str]) -> list[Answer]:
        """Return the same answers as from a server, but without one: for experiments of many rounds."""
        wanted = set(keys)
        found = []
        for number, (key, query) in enumerate(manifest.keys().items()):
            if key in wanted:
                prediction = {"id": number, "model_version": MODEL_VERSION, "result": regions.to_result(query)}
                task = Task(number, key, query.image_id, [prediction], annotations=[], blind=query.blind)
                answer = Answer(
                    key=key,
                    image_id=query.image_id,
                    expert=f"simulated-{self.number}",
                    annotation_id=number,
                    created_at=NO_TIME,
                    updated_at=NO_TIME,
                    lead_time=self._lead_time(key),
                    skipped=False,
                    parent_prediction=number,
                    result=self.reading(task),
                    blind=query.blind,
                )
                found.append(answer)
        return found

    def reading(self, task: Task) -> list[dict[str, Any]]:
        """Return the task's regions, with "Disregard" on marked ones or an ellipse around the evidence.

        Pre-filled marks are corrected. Beside an ellipse they stay as they are, since the evidence has priority.
        """
        evidence = self.evidence(task.image_id)
        result = task.prediction()["result"]
        untouched = regions.relabelled(result, set(), regions.DISREGARD)
        if evidence is None:
            return [*untouched, regions.choice(regions.CANNOT_JUDGE)]
        height, width = evidence.shape
        shown = regions.joined([entry for entry in result if not entry.get("readonly")])
        for region in shown:
            _check_size(region, width, height)
        if evidence.any() and (self.marks == "evidence" or task.blind):
            return [*untouched, *self._around(evidence, task.key)]
        if task.blind:
            everything = {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0}
            return [*untouched, *regions.drawn("rectangle", everything, regions.DISREGARD, width=width, height=height)]
        areas = {region["id"]: geometry.area(region, width, height) for region in shown}
        marked = {name for name, area in areas.items() if self._marks(f"{task.key} {name}", area, evidence)}
        before = {region["id"] for region in shown if regions.is_prefilled(region)}
        return regions.relabelled(result, marked ^ before, regions.DISREGARD)

    def _around(self, evidence: Mask, key: str) -> list[dict[str, Any]]:
        """Return an ellipse around the evidence, or this expert's error on the query."""
        if _luck(f"{self.number} {key} missed") < self.miss_rate:
            return [regions.choice(regions.NOTHING)]
        height, width = evidence.shape
        ellipse = geometry.ellipse_around(evidence)
        if _luck(f"{self.number} {key} elsewhere") < self.false_alarm_rate:
            ellipse |= {axis: round(100 * _luck(f"{self.number} {key} {axis}"), 2) for axis in "xy"}
        return regions.drawn("ellipse", ellipse, regions.EVIDENCE, width=width, height=height)

    def _marks(self, proposal: str, pixels: Mask, evidence: Mask) -> bool:
        must_not_matter = geometry.is_irrelevant(pixels, evidence, self.threshold)
        luck = _luck(f"{self.number} {proposal}")
        return luck >= self.miss_rate if must_not_matter else luck < self.false_alarm_rate

    def _unanswered(self, project: Project, keys: set[str], account: int) -> list[Task]:
        """Return one task for each query without an answer of this account, by key."""
        client = self._connected()
        # Of two tasks of one query, the last one counts: the one that is shown.
        listed = sorted(client.tasks(project, keys), key=lambda task: not task.withdrawn)
        answered = {answer.key for answer in client.answers(listed) if answer.account == account and not answer.skipped}
        todo = {task.key: task for task in listed if task.key not in answered}
        return [todo[key] for key in sorted(todo)]

    def _connected(self) -> LabelStudio:
        if self.client is None:
            raise AnnotationError("this simulated expert has no client. Fix: give it one with the expert's API key.")
        return self.client

    def _lead_time(self, key: str) -> float:
        return self.speed_s * (0.5 + _luck(f"{self.number} {key}"))


def assigned(key: str, absences: Sequence[float], count: int) -> list[int]:
    """Return the numbers of the crowd's experts who answer a query.

    The choice follows from the query's key alone. If fewer than ``count`` experts are present, fewer answer: nobody
    waits for a simulated expert.

    Args:
        key: The query's key.
        absences: The share of queries, 0 to 1, that each expert never answers.
        count: The number of experts wanted.
    """
    present = [number for number, absence in enumerate(absences) if _luck(f"absent {number} {key}") >= absence]
    return sorted(sorted(present, key=lambda number: _luck(f"chosen {number} {key}"))[:count])


def _luck(text: str) -> float:
    """Return a number in [0, 1), uniform over texts and always the same for one text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def _check_size(region: dict[str, Any], width: int, height: int) -> None:
    if (region["original_width"], region["original_height"]) != (width, height):
        raise AnnotationError(
            f"the evidence has {width}×{height} pixels, but the query's picture has "
            f"{region['original_width']}×{region['original_height']}. Fix: run `dvc repro` to write both again."
        )
