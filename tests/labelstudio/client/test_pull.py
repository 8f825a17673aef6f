"""Answers from an expert, at the fake and the real Label Studio alike."""

from __future__ import annotations

import pytest
from fakes.clients import ADMIN, EXPERT, left_half, rest
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import ledger, regions
from labelstudio.reading.verdicts import Verdict, summary, verdict
from labelstudio.server import accounts

pytestmark = pytest.mark.usefixtures("impatient")


def test_pull_brings_every_experts_every_answer(label_studio, admin, project, tmp_path):
    asked = manifest(tmp_path, 4)
    admin.push(project, asked, tmp_path)
    tasks = admin.tasks(project, asked.keys())
    by_admin, by_expert = rest(label_studio), rest(label_studio, key=label_studio.expert_api_key)
    region, _ = regions.relabelled(tasks[0].prediction()["result"][:2], {"c0r0"}, regions.DISREGARD)
    for http, task, body in [
        (by_admin, tasks[0], {"result": [region], "lead_time": 3.25}),
        (by_expert, tasks[0], {"result": [], "lead_time": 1.5}),  # empty: nothing to disregard
        (by_expert, tasks[1], {"result": [region], "was_cancelled": True}),  # skipped
        (by_expert, tasks[3], {"result": [region], "parent_prediction": tasks[3].prediction()["id"]}),
    ]:
        assert http.post(f"/api/tasks/{task.id}/annotations/", json=body).status_code == 201
    answers = {(a.image_id, a.expert): a for a in admin.pull(project, asked.keys())}
    assert set(answers) == {
        ("image-000", ADMIN),
        ("image-000", EXPERT),
        ("image-001", EXPERT),
        ("image-003", EXPERT),
    }
    assert answers["image-000", ADMIN].result == [region]
    assert answers["image-000", ADMIN].lead_time == 3.25
    assert (answers["image-000", EXPERT].result, answers["image-000", EXPERT].skipped) == ([], False)
    assert answers["image-001", EXPERT].skipped
    assert answers["image-003", EXPERT].parent_prediction == tasks[3].prediction()["id"]
    assert all(a.key == asked.queries[int(a.image_id[-3:])].key("digits") for a in answers.values())

    progress = admin.progress(project, asked.keys())
    assert (progress.asked, progress.answered, progress.skipped) == (4, 2, 1)
    assert {expert: n for expert, part in progress.per_expert.items() if (n := part.answered)} == {ADMIN: 1, EXPERT: 2}


def test_the_verdicts_of_answers_are_told_apart(label_studio, admin, project, tmp_path):
    asked = manifest(tmp_path, 8)
    admin.push(project, asked, tmp_path)
    tasks = admin.tasks(project, asked.keys())
    shown = tasks[0].prediction()["result"]
    as_shown = regions.relabelled(shown, set(), regions.DISREGARD)
    bodies = [
        {"result": regions.relabelled(shown, {"c3r4"}, regions.EVIDENCE)},
        {"result": regions.relabelled(shown, {"c3r4"}, regions.DISREGARD)},
        {"result": [*as_shown, chosen("Nothing to disregard")]},
        {"result": as_shown[2:]},  # shape and label of the first are deleted
        {"result": as_shown},
        {"result": [*as_shown, chosen("Cannot judge")]},
        {"result": as_shown, "was_cancelled": True},
        {"result": []},
    ]
    http = rest(label_studio, key=label_studio.expert_api_key)
    for task, body in zip(tasks, bodies, strict=True):
        assert http.post(f"/api/tasks/{task.id}/annotations/", json=body).status_code == 201
    answers = sorted(admin.pull(project, asked.keys()), key=lambda answer: answer.image_id)
    queries = asked.keys()
    others = [one for one in Verdict if one is not Verdict.CONFIRMED]  # which needs a pre-filled query: test_prefill.py
    assert [verdict(answer, queries[answer.key]) for answer in answers] == [*others, Verdict.NOTHING]
    assert summary(answers, queries) == (
        "1 evidence marked, 1 marked, 2 nothing to disregard, 1 some outlines removed, 1 submitted untouched, "
        "1 cannot judge, 1 skipped"
    )
    assert all(regions.mask(answer.result, 96, 96)[1] == [] for answer in answers), "nothing is left over"


def chosen(value: str) -> dict:
    """A choice about the image as a whole, as the page submits it."""
    both = {"id": "aChoice", "type": "choices", "origin": "manual"}
    return {**both, "from_name": regions.CHOICES, "to_name": regions.IMAGE, "value": {"choices": [value]}}


def test_pull_and_progress_keep_to_the_queries_asked_about(admin, expert, project, tmp_path):
    first, second = manifest(tmp_path, 3), manifest(tmp_path, 4, round="01", first=3)
    admin.push(project, first, tmp_path)
    admin.push(project, second, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, first.keys())
    assert len(admin.pull(project, first.keys())) == 3
    assert admin.pull(project, second.keys()) == []
    first_id = admin.first_task_id(project, second.keys())
    assert [task.round for task in admin.tasks(project, first_id=first_id)] == ["01"] * 4, "what is waited for"
    assert len(admin.tasks(project, first_id=first_id + 1)) == 3
    SimulatedExpert(expert, left_half).answer(project, list(second.keys())[:1])
    for lowest in (0, first_id):
        progress = admin.progress(project, second.keys(), first_id=lowest)
        assert (progress.asked, progress.answered, progress.skipped) == (4, 1, 0)
    assert admin.first_task_id(project, []) == 0


def test_an_edited_answer_is_a_new_version_of_it(label_studio, admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    path = tmp_path / "ledger.jsonl"
    (before,) = ledger.record(path, admin.pull(project, asked.keys()))
    reply = rest(label_studio).patch(f"/api/annotations/{before.annotation_id}/", json={"result": []})
    assert reply.ok
    (after,) = ledger.record(path, admin.pull(project, asked.keys()))
    assert (after.annotation_id, after.result) == (before.annotation_id, [])
    assert ledger.record(path, admin.pull(project, asked.keys())) == []
    assert ledger.recall(path, asked.keys()) == [after]


@pytest.mark.parametrize("form", ["int", "dict"])
def test_an_expert_is_known_by_number_or_by_account(fake, tmp_path, form):
    fake.completed_by = form
    admin, expert = LabelStudio(fake.url, fake.api_key), LabelStudio(fake.url, fake.expert_api_key)
    project, asked = admin.ensure_project("digits"), manifest(tmp_path, 1)
    admin.push(project, asked, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    del fake.users[1]  # the administrator's account is deleted, the expert's is not
    assert [answer.expert for answer in admin.pull(project, asked.keys())] == [EXPERT]


@pytest.mark.labelstudio
def test_tasks_that_lost_their_regions_get_them_back(real_label_studio, tmp_path):
    # A real server under load may create the tasks of an import without their predictions.
    label_studio = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    project = label_studio.ensure_project("lost regions")
    asked = manifest(tmp_path, 3)
    label_studio.push(project, asked, tmp_path)
    before = label_studio.tasks(project, asked.keys())
    for task in before[:2]:
        assert rest(real_label_studio).delete(f"/api/predictions/{task.prediction()['id']}/").ok
    assert label_studio.push(project, asked, tmp_path) == 0
    after = label_studio.tasks(project, asked.keys())
    assert [task.id for task in after] == [task.id for task in before]
    assert [task.prediction()["result"] for task in after] == [task.prediction()["result"] for task in before]
    assert [len(task.predictions) for task in after] == [1, 1, 1]


@pytest.mark.labelstudio
def test_a_real_servers_deleted_account_keeps_its_name_in_the_ledger(real_label_studio, tmp_path):
    server = real_label_studio
    leaver = accounts.new("leaver")
    accounts.sign_in(server.url, server.admin, leaver)
    admin, expert = LabelStudio(server.url, server.api_key), LabelStudio(server.url, leaver["token"])
    project, asked = admin.ensure_project("somebody leaves"), manifest(tmp_path, 2)
    admin.push(project, asked, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    path = tmp_path / "ledger.jsonl"
    before = ledger.record(path, admin.pull(project, asked.keys()))
    assert rest(server).delete(f"/api/users/{expert.account()}/").ok
    pulled = admin.pull(project, asked.keys())
    assert {answer.account for answer in pulled} == {None}
    assert ledger.record(path, pulled) == []
    assert [(a.expert, a.result) for a in ledger.named(path, pulled)] == [(a.expert, a.result) for a in before]
    assert {answer.expert for answer in before} == {leaver["email"]}
    progress = admin.progress(project, asked.keys(), experts=2, known=before)
    assert (progress.asked, progress.answered) == (2, 0)
