"""Simulated experts at the fake and the real Label Studio."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.clients import ADMIN, EXPERT, left_half, rest
from fakes.queries import CELL, POLYGON, SIDE, manifest

from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.tasks import MODEL_VERSION, Task
from labelstudio.reading import consensus

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_simulated_expert_marks_what_is_no_evidence(admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 5, more=(POLYGON,))
    admin.push(project, asked, tmp_path)
    simulated = SimulatedExpert(expert, left_half)
    assert simulated.answer(project, asked.keys()) == 5
    assert simulated.answer(project, asked.keys()) == 0
    answers = admin.pull(project, asked.keys())
    assert [answer.expert for answer in answers] == [EXPERT] * 5
    right = geometry.pixels(POLYGON, SIDE, SIDE)
    right[7 * CELL :, 7 * CELL :] = True
    for answer in answers:
        assert answer.parent_prediction is not None
        assert regions.marked(answer.result) == {"c7r7", POLYGON.id}
        np.testing.assert_array_equal(consensus.disregarded([answer], SIDE, SIDE), right)


def test_a_simulated_expert_errs_as_often_as_it_is_told_and_always_alike(tmp_path):
    asked = manifest(tmp_path, 200)
    tasks = [
        Task(
            n, key, query.image_id, [{"id": 1, "model_version": MODEL_VERSION, "result": regions.to_result(query)}], []
        )
        for n, (key, query) in enumerate(asked.keys().items())
    ]

    def marked(miss_rate, false_alarm_rate):
        def left_half(image_id):
            mask = np.zeros((SIDE, SIDE), bool)
            mask[:, : SIDE // 2] = True
            return mask

        erring = SimulatedExpert(None, left_half, miss_rate=miss_rate, false_alarm_rate=false_alarm_rate)
        return [regions.marked(erring.reading(task)) for task in tasks]

    right = marked(0.0, 0.0)
    everything = [{p.id for p in query.proposals} for query in asked.queries]
    to_mark = sum(map(len, right))
    not_to_mark = sum(map(len, everything)) - to_mark
    assert min(to_mark, not_to_mark) >= 200
    missing = marked(0.3, 0.0)
    assert all(some <= all_ for some, all_ in zip(missing, right, strict=True))
    assert sum(map(len, missing)) / to_mark == pytest.approx(0.7, abs=0.1)
    alarmed = marked(0.0, 0.3)
    assert all(some >= all_ for some, all_ in zip(alarmed, right, strict=True))
    assert (sum(map(len, alarmed)) - to_mark) / not_to_mark == pytest.approx(0.3, abs=0.1)
    assert marked(1.0, 1.0) == [all_ - some for all_, some in zip(everything, right, strict=True)]
    assert marked(0.3, 0.3) == marked(0.3, 0.3)


def test_a_simulated_expert_asks_for_evidence_of_the_pictures_size(admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    with pytest.raises(AnnotationError, match="48×48"):
        SimulatedExpert(expert, lambda _: np.ones((48, 48), dtype=bool)).answer(project, asked.keys())


def test_a_query_that_was_skipped_is_still_unanswered(label_studio, admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    (task,) = admin.tasks(project, asked.keys())
    http = rest(label_studio, key=label_studio.expert_api_key)
    http.post(f"/api/tasks/{task.id}/annotations/", json={"result": [], "was_cancelled": True})
    assert SimulatedExpert(expert, left_half).answer(project, asked.keys()) == 1
    assert sorted(answer.skipped for answer in admin.pull(project, asked.keys())) == [False, True]


def test_what_somebody_else_answered_is_still_for_the_simulated_expert(admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    SimulatedExpert(admin, left_half).answer(project, asked.keys())
    assert SimulatedExpert(expert, left_half).answer(project, asked.keys()) == 1
    assert {answer.expert for answer in admin.pull(project, asked.keys())} == {ADMIN, EXPERT}
    progress = admin.progress(project, asked.keys())
    assert {expert: n for expert, part in progress.per_expert.items() if (n := part.answered)} == {ADMIN: 1, EXPERT: 1}


def test_the_same_answer_submitted_twice_arrives_once(admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    (task,) = admin.tasks(project, asked.keys())
    for _ in range(2):
        expert.annotate(task, expert=EXPERT, result=[], lead_time=1.0)
    assert len(admin.pull(project, asked.keys())) == 1
