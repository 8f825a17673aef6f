"""Queries without outlines: at the fake and the real Label Studio, and by hand in a browser."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes.clients import left_half, rest
from fakes.labelling_page import drag, open_as, press, regions_listed, shows, submit
from fakes.queries import SIDE, answer, manifest, proposal

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.client.push import Plan, plan
from labelstudio.exchange.records import Manifest
from labelstudio.exchange.regions import DISREGARD
from labelstudio.exchange.tasks import Task
from labelstudio.reading.marks import disregarded
from labelstudio.reading.verdicts import Verdict, removed, verdict


def blind(asked: Manifest, *numbers: int) -> Manifest:
    """The same queries, these without outlines."""
    queries = [dataclasses.replace(query, blind=n in numbers) for n, query in enumerate(asked.queries)]
    return dataclasses.replace(asked, queries=tuple(queries))


def test_a_blind_query_is_the_same_question_without_outlines_and_saliency(
    label_studio, admin, expert, project, tmp_path
):
    seen = manifest(tmp_path, 2)
    asked = blind(dataclasses.replace(seen, queries=(earlier(seen.queries[0]), seen.queries[1])), 0)
    assert asked.keys().keys() == seen.keys().keys()
    assert [admin.push(project, asked, tmp_path) for _ in range(2)] == [2, 0]
    tasks = {task.image_id: task for task in admin.tasks(project, asked.keys())}
    shown = {name: {entry["id"] for entry in task.prediction()["result"]} for name, task in tasks.items()}
    assert shown == {"image-000": {"c6r6"}, "image-001": {"c0r0", "c3r4", "c7r7"}}, "earlier marks are not the model's"
    rows = rest(label_studio).get("/api/tasks", params={"project": project.id}).json()["tasks"]
    data = {row["data"]["image_id"]: row["data"] for row in rows}
    assert data["image-000"]["heat"] == data["image-000"]["image"]
    assert data["image-000"]["position"] == "1 of 2, without outlines"
    assert data["image-001"]["position"] == "2 of 2"

    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    assert {name: given.blind for name, given in answers.items()} == {"image-000": True, "image-001": False}
    assert verdict(answers["image-000"], asked.queries[0]) is Verdict.EVIDENCE
    alone = SimulatedExpert(None, left_half).answers(asked, asked.keys())
    pulled = {name: (given.result, given.blind) for name, given in answers.items()}
    assert {given.image_id: (given.result, given.blind) for given in alone} == pulled


def earlier(query):
    return dataclasses.replace(query, earlier=(proposal(6, 6),))


@pytest.mark.parametrize("before", [True, False])
def test_unanswered_tasks_change_and_answered_ones_stay(admin, expert, tmp_path, before):
    project = admin.ensure_project(f"blind at first: {before}")
    asked = manifest(tmp_path, 3)
    all_blind = blind(asked, 0, 1, 2)
    old, new = (all_blind, asked) if before else (asked, all_blind)
    admin.push(project, old, tmp_path)
    first, *others = asked.keys()
    SimulatedExpert(expert, left_half).answer(project, [first])
    assert [admin.push(project, new, tmp_path) for _ in range(2)] == [2, 0]
    open_tasks = [task for task in admin.tasks(project, asked.keys()) if not task.withdrawn]
    assert {task.key: task.blind for task in open_tasks} == {first: before} | dict.fromkeys(others, not before)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    answers = admin.pull(project, asked.keys())
    assert {a.key: a.blind for a in answers} == {first: before} | dict.fromkeys(others, not before)
    assert len(answers) == 3


def test_an_answer_to_a_withdrawn_task_takes_the_place_of_the_new_one(tmp_path):
    asked = blind(manifest(tmp_path, 1), 0)
    (key,) = asked.keys()
    given = [{"completed_by": 7, "was_cancelled": False}]
    old = Task(1, key, "image-000", [{"id": 1}], given, round="00", withdrawn=True)
    new = Task(2, key, "image-000", [{"id": 2}], [], round="00", blind=True)
    assert plan(asked, [old, new]) == Plan(show={1: old}, withdraw={2: new})


def test_without_outlines_none_was_removed(tmp_path):
    (query,) = blind(manifest(tmp_path, 1), 0).queries
    given = answer("key", set(), query, blind=True)
    assert removed(given, query) == 0
    assert verdict(given, query) is Verdict.UNTOUCHED
    assert Manifest.read(written(Manifest("digits", "00", (query,)), tmp_path)).queries == (query,)


def written(asked: Manifest, folder):
    asked.write(folder / "queries.json")
    return folder / "queries.json"


def test_an_image_without_evidence_is_disregarded_altogether(tmp_path):
    asked = blind(manifest(tmp_path, 1), 0)
    nowhere = SimulatedExpert(None, lambda _: np.zeros((SIDE, SIDE), bool))
    (given,) = nowhere.answers(asked, asked.keys())
    mask, unused = disregarded(given.result, SIDE, SIDE)
    assert (bool(mask.all()), unused) == (True, [])
    (unknown,) = SimulatedExpert(None, lambda _: None).answers(asked, asked.keys())
    assert verdict(unknown, asked.queries[0]) is Verdict.CANNOT_JUDGE


@pytest.mark.labelstudio
@pytest.mark.browser
def test_a_person_answers_without_outlines(page, real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    asked = blind(manifest(tmp_path, 2), 0, 1)
    project = admin.ensure_project("blind by hand")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)
    shows(page, "1 of 2, without outlines")
    regions_listed(page, 0)
    press(page, "r", "2")
    drag(page, (0, 0), (24, 96))
    regions_listed(page, 1)
    press(page, "Escape")
    submit(page)
    shows(page, "2 of 2, without outlines")
    submit(page)
    drawn, untouched = sorted(admin.pull(project, asked.keys()), key=lambda given: given.image_id)
    assert (drawn.blind, untouched.blind) == (True, True)
    mask, _ = disregarded(drawn.result, SIDE, SIDE)
    assert mask[:, :23].all()
    assert not mask[:, 26:].any()
    assert [entry["value"]["labels"] for entry in drawn.result if entry["type"] == "labels"] == [[DISREGARD]]
    assert verdict(untouched, asked.queries[1]) is Verdict.UNTOUCHED
