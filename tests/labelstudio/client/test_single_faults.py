"""Any single fault of the fake: nothing is missing, double or hidden, and waiting goes on."""

from __future__ import annotations

import time

import pytest
import requests
from fakes.clients import keys_on, left_half, rest
from fakes.label_studio import FakeLabelStudio
from fakes.queries import manifest

from labelstudio.client import connection, waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange.records import AnnotationError

pytestmark = pytest.mark.usefixtures("impatient")


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
