"""Our client at the fake and the real Label Studio; then faults, which only the fake can have."""

from __future__ import annotations

import time

import numpy as np
import pytest
import requests
from fakes.clients import ADMIN, EXPERT, keys_on, left_half, rest
from fakes.label_studio import FakeLabelStudio, jwt
from fakes.queries import CELL, POLYGON, SIDE, manifest

from labelstudio.client import connection, projects, waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.tasks import MODEL_VERSION, Task
from labelstudio.reading import consensus

pytestmark = pytest.mark.usefixtures("impatient")


# --- projects ---


def test_a_project_is_found_again_by_its_exact_title(admin):
    titles = ["exact title", "exact title 2", "Exact Title", "an exact title"]
    created = {title: admin.ensure_project(title).id for title in titles}
    assert len(set(created.values())) == len(titles)
    assert {title: admin.ensure_project(title).id for title in titles} == created


def test_a_title_the_server_would_refuse_is_refused_before(admin):
    with pytest.raises(AnnotationError, match="51 characters"):
        admin.ensure_project("x" * 51)
    assert admin.ensure_project("x" * 50).title == "x" * 50


def test_somebody_elses_project_is_left_alone(label_studio, admin):
    config = '<View><Image name="image" value="$image"/></View>'
    theirs = rest(label_studio).post("/api/projects", json={"title": "somebody else's", "label_config": config}).json()
    with pytest.raises(AnnotationError, match="another labelling interface"):
        admin.ensure_project("somebody else's")
    after = rest(label_studio).get(f"/api/projects/{theirs['id']}").json()
    assert after["label_config"] == config


def test_another_layout_of_the_same_interface_is_ours(label_studio, admin, project):
    config = projects.INTERFACE.replace("\n", "\n\n   ")
    reply = rest(label_studio).patch(f"/api/projects/{project.id}", json={"label_config": config})
    assert reply.ok
    assert admin.ensure_project(project.title) == project


def test_a_notice_stands_before_the_instructions_and_changes_nothing_of_them(label_studio, admin, project):
    path = f"/api/projects/{project.id}/"

    def shown():
        return rest(label_studio).get(path).json()["expert_instruction"]

    edited = "<p>Look at <b>rulers</b> &amp; hairs.</p>"
    assert rest(label_studio).patch(path, json={"expert_instruction": edited}).ok
    for notice in ('<p><b>Wait</b> for <a href="http://there/2">more</a>.</p><br>', "<p>Now\nwait.</p>"):
        admin.announce(project, notice)
        assert shown() == f'<div class="lookaway">{notice}</div>{edited}'
    for _ in range(2):
        admin.announce(project, "")
        assert shown() == edited


def interface_of(label_studio, number):
    return rest(label_studio).get(f"/api/projects/{number}").json()["label_config"]


def test_a_renamed_project_is_found_and_another_of_its_title_is_not_taken(label_studio, admin, project):
    http = rest(label_studio)
    assert http.patch(f"/api/projects/{project.id}", json={"title": "renamed by somebody"}).ok
    foreign = {"title": project.title, "label_config": projects.INTERFACE}
    assert http.post("/api/projects", json=foreign).ok
    for known in (None, project.known()):
        found = admin.ensure_project(project.title, known=known)
        assert (found.id, found.name, found.title) == (project.id, "renamed by somebody", project.title)


def test_a_project_whose_mark_was_lost_is_known_by_its_number(label_studio, admin, project):
    body = {"title": "renamed, edited", "label_config": projects.INTERFACE}
    assert rest(label_studio).patch(f"/api/projects/{project.id}", json=body).ok
    assert admin.ensure_project(project.title, known=project.known()).id == project.id
    assert projects.mark(project.title) in interface_of(label_studio, project.id), "it has its mark again"
    later = (project.id, "2031-01-01T00:00:00Z")  # the same number on a server that lost its data
    body = {"title": "somebody else's now", "label_config": projects.INTERFACE}
    assert rest(label_studio).patch(f"/api/projects/{project.id}", json=body).ok
    assert admin.ensure_project(project.title, known=later).id != project.id


def test_a_project_of_an_earlier_version_is_taken_and_marked(label_studio, admin):
    body = {"title": "made by an earlier version", "label_config": projects.INTERFACE}
    old = rest(label_studio).post("/api/projects", json=body).json()
    assert admin.ensure_project(body["title"]).id == old["id"]
    assert projects.mark(body["title"]) in interface_of(label_studio, old["id"])


def test_an_edited_project_of_ours_is_refused_and_can_be_given_up(label_studio, admin, project):
    config = '<View><Image name="image" value="$image"/></View>'
    edited = {"title": "renamed, other", "label_config": f"{config}\n{projects.mark(project.title)}"}
    http = rest(label_studio)
    assert http.patch(f"/api/projects/{project.id}", json=edited).ok
    for known in (None, project.known()):
        with pytest.raises(AnnotationError, match=r"another labelling interface.*remove its line `<!-- lookaway: "):
            admin.ensure_project(project.title, known=known)
    assert http.patch(f"/api/projects/{project.id}", json={"label_config": config}).ok
    assert admin.ensure_project(project.title, known=project.known()).id != project.id


def test_two_projects_with_one_mark_are_not_chosen_between(label_studio, admin, project, tmp_path):
    body = {"title": "a copy", "label_config": interface_of(label_studio, project.id)}
    copy = rest(label_studio).post("/api/projects", json=body).json()
    with pytest.raises(AnnotationError, match=rf"2 projects .* numbers .*\b{copy['id']}\b.*Fix: remove the line"):
        admin.ensure_project(project.title)
    assert admin.ensure_project(project.title, known=project.known()) == project


# --- simulated experts ---


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


# --- keys and addresses ---


def test_a_wrong_key_is_named_without_being_shown(label_studio):
    key = "0123456789abcdef0123456789abcdef01234567"
    with pytest.raises(AnnotationError, match="does not accept the API key") as caught:
        LabelStudio(label_studio.url, key).check()
    assert label_studio.url in str(caught.value)
    assert key not in str(caught.value)


def test_a_personal_access_token_works_as_well(label_studio, request):
    token = getattr(label_studio, "personal_access_token", None) or request.getfixturevalue("personal_access_token")
    assert LabelStudio(label_studio.url, token).check() == ADMIN
    with pytest.raises(AnnotationError, match="does not accept the API key"):
        LabelStudio(label_studio.url, token[:-4] + "AAAA").check()


def test_an_expired_personal_access_token_is_refused():
    with pytest.raises(AnnotationError, match="does not accept the API key"):
        LabelStudio("http://localhost:8080", jwt("refresh", 1, lifetime_s=-60))


def test_nobody_there():
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 .*Fix: start it \(`lookaway server start`\)"):
        LabelStudio("http://127.0.0.1:9", "key").check()


@pytest.mark.parametrize("url", ["localhost:8080", "8080", "ftp://localhost", ""])
def test_what_is_no_url_is_said_to_be_none(url):
    with pytest.raises(AnnotationError, match="not a Label Studio URL"):
        LabelStudio(url, "key")


# --- faults ---

IMPORT = r"/import$"
UPLOAD = r"/import\?commit_to_project=false"


@pytest.fixture
def faulty(fake, tmp_path):
    """The fake, its client, an empty project, and eleven queries to ask (three batches)."""
    admin = LabelStudio(fake.url, fake.api_key)
    return fake, admin, admin.ensure_project("digits"), manifest(tmp_path, 11)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["reset", "html", "500", "503", "429", "late"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", UPLOAD), ("POST", IMPORT), ("GET", "/api/tasks"), ("GET", "/file-uploads")],
)
def test_after_any_single_fault_no_task_is_missing_or_there_twice(faulty, tmp_path, method, path, kind, after):
    fake, admin, project, asked = faulty
    fake.fail(method, path, kind, after=after and kind != "late")
    admin.push(project, asked, tmp_path)
    assert fake.faults[0].times == 0, "the fault never happened"
    time.sleep(fake.late_s if kind == "late" else 0)
    assert keys_on(admin, project, asked) == sorted(asked.keys())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("path", [UPLOAD, IMPORT])
def test_a_push_that_died_is_completed_by_the_next(faulty, tmp_path, path, after, monkeypatch):
    fake, admin, project, asked = faulty
    monkeypatch.setattr(connection, "ATTEMPTS", 1)  # dies of the first fault, as if killed
    fake.fail("POST", path, "reset", after=after, times=2)
    for _ in range(2):
        with pytest.raises(Unreachable):
            admin.push(project, asked, tmp_path)
    admin.push(project, asked, tmp_path)
    assert keys_on(admin, project, asked) == sorted(asked.keys())


def test_a_request_still_under_way_from_a_killed_push_is_waited_for(faulty, tmp_path, monkeypatch):
    fake, admin, project, asked = faulty
    fake.fail("POST", IMPORT, "late")
    monkeypatch.setattr(connection, "ATTEMPTS", 1)  # dies of the first fault, as if killed
    with pytest.raises(Unreachable):
        admin.push(project, asked, tmp_path)
    admin.push(project, asked, tmp_path)
    time.sleep(fake.late_s)
    assert keys_on(admin, project, asked) == sorted(asked.keys())


@pytest.mark.parametrize("kind", ["html", "404"])
def test_a_404_in_the_middle_of_a_list_is_not_its_end(faulty, tmp_path, kind):
    fake, admin, project, asked = faulty
    admin.push(project, asked, tmp_path)
    fake.fail("GET", "/api/tasks.*page=3", kind)
    assert len(admin.tasks(project, asked.keys())) == 11
    fake.fail("GET", "/api/tasks.*page=3", kind, times=100)
    with pytest.raises(Unreachable):
        admin.tasks(project, asked.keys())


def test_a_server_that_stays_down_ends_the_push_with_a_reason(faulty, tmp_path):
    fake, admin, project, asked = faulty
    fake.fail("POST", IMPORT, "503", times=100)
    with pytest.raises(Unreachable, match="503"):
        admin.push(project, asked, tmp_path)
    assert fake.tasks == {}


@pytest.mark.parametrize("after", [False, True])
def test_a_project_is_created_once(fake, after):
    admin = LabelStudio(fake.url, fake.api_key)
    fake.fail("POST", "/api/projects", "reset", after=after)
    if after:
        assert admin.ensure_project("digits").id == 1
    else:
        with pytest.raises(Unreachable, match="run this again"):
            admin.ensure_project("digits")
    admin.ensure_project("digits")
    assert len(fake.projects) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["reset", "500"])
def test_an_answer_is_given_once_despite_faults(faulty, tmp_path, kind, after):
    fake, admin, project, asked = faulty
    admin.push(project, asked, tmp_path)
    fake.fail("POST", "/annotations", kind, after=after, times=2)
    expert = SimulatedExpert(LabelStudio(fake.url, fake.expert_api_key), left_half)
    assert expert.answer(project, asked.keys()) == 11
    assert sorted(answer.key for answer in admin.pull(project, asked.keys())) == sorted(asked.keys())


def test_an_error_reply_does_not_carry_the_key(faulty, tmp_path):
    fake, admin, project, asked = faulty
    fake.fail("GET", "/api/tasks", "400", times=100)
    with pytest.raises(AnnotationError) as caught:
        admin.tasks(project, asked.keys())
    assert fake.api_key not in str(caught.value)


def test_many_tasks_take_few_requests(fake, tmp_path, monkeypatch):
    monkeypatch.undo()  # the real page and batch sizes
    admin = LabelStudio(fake.url, fake.api_key)
    project, asked = admin.ensure_project("digits"), manifest(tmp_path, 200)
    fake.requests.clear()
    admin.push(project, asked, tmp_path)
    admin.pull(project, asked.keys())
    assert len(fake.requests) <= 11


# --- waiting ---


def test_waiting_ends_when_everything_is_answered(faulty, tmp_path, capsys):
    fake, admin, project, asked = faulty
    admin.push(project, asked, tmp_path)
    SimulatedExpert(LabelStudio(fake.url, fake.expert_api_key), left_half).answer(project, asked.keys())
    waiting.wait(admin, project, asked.keys(), limit_s=None)


def test_waiting_says_how_far_it_got_and_how_to_go_on(faulty, tmp_path, capsys):
    fake, admin, project, asked = faulty
    admin.push(project, asked, tmp_path)
    expert = SimulatedExpert(LabelStudio(fake.url, fake.expert_api_key), left_half)
    expert.answer(project, list(asked.keys())[:4])
    with pytest.raises(AnnotationError, match=r"^4/11 answered .*http://.*/projects/1.*`dvc repro` again\.$"):
        waiting.wait(admin, project, asked.keys(), limit_s=0.2, poll_s=0.05)


def test_waiting_outlasts_a_server_that_is_away_for_a_while(faulty, tmp_path, capsys):
    fake, admin, project, asked = faulty
    admin.push(project, asked, tmp_path)
    SimulatedExpert(LabelStudio(fake.url, fake.expert_api_key), left_half).answer(project, asked.keys())
    fake.fail("GET", "/api/tasks", "503", times=2 * connection.ATTEMPTS)
    waiting.wait(admin, project, asked.keys(), limit_s=30, poll_s=0.01)
    assert fake.faults[0].times == 0
    assert "503" in capsys.readouterr().err


def test_waiting_does_not_hide_a_wrong_key(faulty):
    fake, admin, project, asked = faulty
    fake.keys.clear()
    with pytest.raises(AnnotationError, match="does not accept the API key"):
        waiting.wait(admin, project, asked.keys(), limit_s=None)


def test_interrupted_waiting_says_that_nothing_is_lost(faulty, capsys, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    _, admin, project, asked = faulty
    monkeypatch.setattr(waiting.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        waiting.wait(admin, project, asked.keys(), limit_s=None)
    assert "no answer is lost" in capsys.readouterr().err


def test_the_fake_keeps_running_while_it_is_wrong(fake: FakeLabelStudio):
    """The faults are worth something only if the fake itself does not break."""
    fake.fail("GET", "/api/users", "reset")
    with pytest.raises(requests.ConnectionError):
        rest(fake).get("/api/users")
    assert rest(fake).get("/api/users").status_code == 200
