"""Tasks to an expert, at the fake and the real Label Studio alike."""

from __future__ import annotations

import dataclasses

import pytest
import requests
from fakes.clients import keys_on, left_half, rest
from fakes.queries import manifest, proposal

from labelstudio.client import connection
from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import regions
from labelstudio.exchange.records import AnnotationError, Manifest, Proposal
from labelstudio.exchange.tasks import write_tasks

pytestmark = pytest.mark.usefixtures("impatient")


# --- push ---


def test_push_adds_what_is_missing_and_nothing_twice(admin, project, tmp_path):
    some, all_ = manifest(tmp_path, 5), manifest(tmp_path, 11)
    assert admin.push(project, some, tmp_path) == 5
    assert admin.push(project, some, tmp_path) == 0
    assert admin.push(project, all_, tmp_path) == 6
    assert keys_on(admin, project, all_) == sorted(all_.keys())


def test_a_task_shows_the_query_and_its_proposals(label_studio, admin, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    (task,) = admin.tasks(project, asked.keys())
    (row,) = rest(label_studio).get("/api/tasks", params={"project": project.id}).json()["tasks"]
    picture, saliency = row["data"].pop("image"), row["data"].pop("heat")
    assert row["data"] == {
        "key": next(iter(asked.keys())),
        "image_id": "image-000",
        "scenario": "digits",
        "round": "00",
        "position": "1 of 1",
        "label": "8",
        "prediction": "3",
        "probabilities": "3: 50% · 8: 30% · 1: 20%",
        "uncertainty": 0.9,
    }
    assert picture.startswith("/data/upload/")
    assert rest(label_studio).get(saliency).content == (tmp_path / "000.heat.png").read_bytes()
    assert task.prediction()["result"] == regions.to_result(asked.queries[0])
    assert task.prediction()["score"] == pytest.approx(0.1)


def test_the_expert_sees_the_picture_and_a_stranger_does_not(label_studio, admin, project, tmp_path):
    admin.push(project, manifest(tmp_path, 1), tmp_path)
    (row,) = rest(label_studio).get("/api/tasks", params={"project": project.id}).json()["tasks"]
    reply = rest(label_studio, key=label_studio.expert_api_key).get(row["data"]["image"])
    assert reply.content == (tmp_path / "000.png").read_bytes()
    assert requests.get(label_studio.url + row["data"]["image"]).status_code == 401


def test_a_deleted_task_is_asked_again_under_its_recurring_id(label_studio, admin, project, tmp_path):
    asked = manifest(tmp_path, 3)
    admin.push(project, asked, tmp_path)
    last = max(admin.tasks(project, asked.keys()), key=lambda task: task.id)
    assert rest(label_studio).delete(f"/api/tasks/{last.id}/").status_code == 204
    assert admin.push(project, asked, tmp_path) == 1
    again = max(admin.tasks(project, asked.keys()), key=lambda task: task.id)
    assert (again.id, again.key, again.annotations) == (last.id, last.key, [])


def test_a_picture_that_changed_is_not_pushed(admin, project, tmp_path):
    asked = manifest(tmp_path, 2)
    (tmp_path / "001.png").write_bytes((tmp_path / "000.png").read_bytes())
    with pytest.raises(AnnotationError, match="is not the query's picture"):
        admin.push(project, asked, tmp_path)
    assert keys_on(admin, project, asked) == []


def test_regions_that_could_not_be_shown_are_not_pushed(admin, project, tmp_path):
    asked = manifest(tmp_path, 1)
    outside = dataclasses.replace(asked.queries[0], proposals=(Proposal("p", 90, 0, 200, 12, 0.1),))
    asked = dataclasses.replace(asked, queries=(outside,))
    with pytest.raises(AnnotationError, match="image-000"):
        admin.push(project, asked, tmp_path)
    assert keys_on(admin, project, asked) == []


@pytest.mark.labelstudio
def test_tasks_json_can_be_imported_by_hand(real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    project, asked = admin.ensure_project("imported by hand"), manifest(tmp_path, 3)
    write_tasks(asked, tmp_path, tmp_path / "tasks.json")
    files = {"file": ("tasks.json", (tmp_path / "tasks.json").read_bytes())}
    assert rest(real_label_studio).post(f"/api/projects/{project.id}/import", files=files).ok
    assert admin.push(project, asked, tmp_path) == 0
    shown = {task.key: task.prediction()["result"] for task in admin.tasks(project, asked.keys())}
    assert shown == {key: regions.to_result(query) for key, query in asked.keys().items()}


def test_tasks_are_numbered_among_all_as_they_are_served(label_studio, admin, project, tmp_path):
    asked = manifest(tmp_path, 5)
    asked = dataclasses.replace(asked, queries=asked.queries[::-1])
    some = dataclasses.replace(asked, queries=asked.queries[:2])
    admin.push(project, some, tmp_path)
    admin.push(project, asked, tmp_path)
    served = next_for(label_studio, project)
    assert (served["image_id"], served["position"]) == ("image-000", "1 of 5")


# --- what is not asked any more ---


def next_for(label_studio, project) -> dict:
    """The data of the task that the expert's page would show now; empty if there is no task."""
    reply = rest(label_studio, key=label_studio.expert_api_key).get(f"/api/projects/{project.id}/next")
    return reply.json()["data"] if reply.ok else {}


def other_regions(asked: Manifest, first: int = 0) -> Manifest:
    """The same pictures; other proposals on all but the ``first`` of them."""
    queries = [
        dataclasses.replace(query, proposals=(proposal(2, 2), proposal(5, 1))) if n >= first else query
        for n, query in enumerate(asked.queries)
    ]
    return dataclasses.replace(asked, queries=tuple(queries))


def test_changed_proposals_take_the_place_of_an_unanswered_question(label_studio, admin, project, tmp_path):
    before = manifest(tmp_path, 4)
    now = other_regions(before, first=1)
    later = manifest(tmp_path, 2, round="01", first=4)  # of another round: none of this one's business
    for asked in (before, later):
        admin.push(project, asked, tmp_path)
    assert admin.push(project, now, tmp_path) == 3
    assert admin.push(project, now, tmp_path) == 0
    withdrawn = {task.key for task in admin.tasks(project) if task.withdrawn}
    assert withdrawn == before.keys().keys() - now.keys().keys()
    seen = answer_all(label_studio, admin, project)
    assert sorted(seen) == sorted([*now.keys(), *later.keys()]), "everything once, and nothing needlessly"
    assert admin.push(project, now, tmp_path) == 0


def answer_all(label_studio, admin, project) -> list[str]:
    """Answer what is served until nothing is; the keys in that order."""
    http, seen = rest(label_studio, key=label_studio.expert_api_key), []
    while data := next_for(label_studio, project):
        (task,) = admin.tasks(project, [data["key"]])
        assert http.post(f"/api/tasks/{task.id}/annotations/", json={"result": []}).ok
        seen.append(task.key)
    return seen


def test_an_answered_question_is_never_touched(label_studio, admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 3)
    admin.push(project, asked, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    before = {row["id"]: row for row in rows(label_studio, project)}
    admin.push(project, other_regions(asked), tmp_path)
    after = {row["id"]: row for row in rows(label_studio, project)}
    assert len(after) == 6
    assert {id: after[id] for id in before} == before


def rows(label_studio, project) -> list[dict]:
    found = rest(label_studio).get("/api/tasks", params={"project": project.id, "fields": "all"}).json()["tasks"]
    return [{name: row[name] for name in ("id", "data", "annotations", "overlap", "is_labeled")} for row in found]


def test_an_answer_to_what_is_withdrawn_meanwhile_stays_with_its_own_question(label_studio, admin, project, tmp_path):
    before = manifest(tmp_path, 1)
    now = other_regions(before)
    admin.push(project, before, tmp_path)
    (opened,) = admin.tasks(project, before.keys())  # by an expert, who is still looking at it
    admin.push(project, now, tmp_path)
    marked = regions.relabelled(opened.prediction()["result"], {"c3r4"}, regions.DISREGARD)
    body = {"result": marked, "parent_prediction": opened.prediction()["id"]}
    http = rest(label_studio, key=label_studio.expert_api_key)
    assert http.post(f"/api/tasks/{opened.id}/annotations/", json=body).status_code == 201
    (answer,) = admin.pull(project)
    assert (answer.key, regions.marked(answer.result)) == (next(iter(before.keys())), {"c3r4"})
    assert admin.pull(project, now.keys()) == []
    assert next_for(label_studio, project)["key"] == next(iter(now.keys()))


def test_a_question_that_comes_back_is_asked_again(label_studio, admin, project, tmp_path):
    before = manifest(tmp_path, 2)
    admin.push(project, before, tmp_path)
    admin.push(project, other_regions(before), tmp_path)
    assert admin.push(project, before, tmp_path) == 0
    assert next_for(label_studio, project)["key"] in set(before.keys())
    assert sorted(answer_all(label_studio, admin, project)) == sorted(before.keys())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_push_killed_between_asking_and_withdrawing_is_completed(fake, tmp_path, monkeypatch, method, after):
    admin = LabelStudio(fake.url, fake.api_key)
    project, before = admin.ensure_project("digits"), manifest(tmp_path, 6)
    now = other_regions(before, first=2)
    admin.push(project, before, tmp_path)
    monkeypatch.setattr(connection, "ATTEMPTS", 1)  # dies of the first fault, as if killed
    fake.fail(method, r"/import$" if method == "POST" else "/api/tasks/", "reset", after=after)
    with pytest.raises(Unreachable):
        admin.push(project, now, tmp_path)
    admin.push(project, now, tmp_path)
    assert keys_on(admin, project, now) == sorted(now.keys())
    assert sorted(answer_all(fake, admin, project)) == sorted(now.keys())
