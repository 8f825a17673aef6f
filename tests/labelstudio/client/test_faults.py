"""Faults between us and a Label Studio: after another run nothing is missing, double or lost."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from fakes.label_studio import FakeLabelStudio
from fakes.proxy import KINDS, Proxy
from fakes.queries import SIDE, manifest

from labelstudio.client import connection, push, waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange.records import AnnotationError
from labelstudio.server import local, process

QUERIES = 6
EXPERT = "expert@localhost.local"
# Every request of a round: its project, its pictures, its tasks, its answers, and how it is read.
REQUESTS = {
    "whoami": ("GET", "/api/current-user/whoami"),
    "find project": ("GET", r"/api/projects/\?"),
    "create project": ("POST", r"/api/projects/$"),
    "upload": ("POST", r"/import\?commit_to_project=false"),
    "list uploads": ("GET", "/file-uploads"),
    "import": ("POST", r"/import$"),
    "list tasks": ("GET", "/api/tasks"),
    "answer": ("POST", "/annotations"),
    "users": ("GET", "/api/users"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "PAGE_SIZE", 4)
    monkeypatch.setattr(push, "FILES", 4)
    monkeypatch.setattr(push, "TASKS", 4)
    monkeypatch.setattr(connection, "SETTLE_S", 0.8)
    monkeypatch.setattr(connection, "LONGEST_PAUSE_S", 0.01)


def everything(_: str) -> np.ndarray:
    return np.zeros((SIDE, SIDE), dtype=bool)  # no evidence anywhere


def a_round(proxy: Proxy, label_studio, title: str, folder: Path):
    """The steps of annotate, through the proxy: project, push, answers, waiting, pull."""
    admin, expert = LabelStudio(proxy.url, label_studio.api_key), LabelStudio(proxy.url, label_studio.expert_api_key)
    admin.check()
    project, asked = admin.ensure_project(title), manifest(folder, QUERIES)
    admin.push(project, asked, folder)
    SimulatedExpert(expert, everything).answer(project, asked.keys())
    waiting.wait(admin, project, asked.keys(), limit_s=5, poll_s=0.01)
    return admin.pull(project, asked.keys())


def run_again_until_done(proxy: Proxy, label_studio, title: str, folder: Path, runs: int = 4):
    """Run again as a user does after an error; every message must say what to do."""
    for _ in range(runs):
        try:
            return a_round(proxy, label_studio, title, folder)
        except AnnotationError as error:
            check_message(error, label_studio)
    raise AssertionError(f"not done after {runs} runs")


def check_message(error: AnnotationError, label_studio) -> None:
    assert "again" in str(error) or "start it" in str(error), error
    assert label_studio.api_key not in str(error)


def assert_complete(answers, label_studio, title: str, folder: Path, twice: bool = False):
    """Of each query one task that is shown and one answer, seen past the proxy."""
    direct = LabelStudio(label_studio.url, label_studio.api_key)
    keys = manifest(folder, QUERIES).keys()
    listed = direct.tasks(direct.ensure_project(title), keys)
    tasks = [task for task in listed if not task.withdrawn]
    assert Counter(task.key for task in tasks) == Counter(list(keys))
    assert all(task.annotations and task.predictions for task in tasks)
    assert twice or sum(len(task.annotations) for task in listed) == len(listed) == len(keys)
    assert Counter(answer.key for answer in answers) == Counter(list(keys))


@pytest.mark.parametrize(("kind", "after"), [*[(kind, False) for kind in KINDS], ("reset", True), ("503", True)])
@pytest.mark.parametrize("request_", REQUESTS)
def test_one_fault_anywhere(fake, tmp_path, monkeypatch, request_, kind, after):
    monkeypatch.setattr(connection, "TIMEOUT_S", 0.2)
    with Proxy(fake.url) as proxy:
        proxy.fail(*REQUESTS[request_], kind, after=after)
        answers = run_again_until_done(proxy, fake, "faults", tmp_path)
        assert proxy.faults[-1].times == 0, "the fault never happened"
        if kind == "late":
            time.sleep(proxy.slow_s + 0.1)
        assert_complete(answers, fake, "faults", tmp_path, twice=kind == "twice")


@pytest.mark.labelstudio
@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        *[(request_, "twice") for request_ in ("create project", "upload", "import", "answer")],
        *[("create project", "truncated"), ("upload", "reset"), ("import", "truncated"), ("import", "429")],
        *[("answer", "reset"), ("list tasks", "html")],
    ],
)
def test_one_fault_before_a_real_server(real_label_studio, tmp_path, request_, kind):
    title = f"{request_} {kind}"
    with Proxy(real_label_studio.url) as proxy:
        proxy.fail(*REQUESTS[request_], kind, after=kind == "reset")
        answers = run_again_until_done(proxy, real_label_studio, title, tmp_path)
        assert proxy.faults[-1].times == 0, "the fault never happened"
        assert_complete(answers, real_label_studio, title, tmp_path, twice=kind == "twice")


@pytest.mark.parametrize("request_", ["upload", "import", "answer"])
def test_a_second_batch_that_fails_leaves_the_first(fake, tmp_path, request_):
    with Proxy(fake.url) as proxy:
        proxy.fail(*REQUESTS[request_], "reset", after=True, skip=1, times=2)
        answers = run_again_until_done(proxy, fake, "faults", tmp_path)
        assert_complete(answers, fake, "faults", tmp_path)


def test_a_restart_in_the_middle_is_outlasted(fake, tmp_path):
    with Proxy(fake.url) as proxy:
        admin = LabelStudio(proxy.url, fake.api_key)
        project, asked = admin.ensure_project("faults"), manifest(tmp_path, QUERIES)
        admin.push(project, asked, tmp_path)

        def people() -> None:
            time.sleep(0.2)
            with proxy.restart():
                time.sleep(0.5)
            SimulatedExpert(LabelStudio(proxy.url, fake.expert_api_key), everything).answer(project, asked.keys())

        thread = threading.Thread(target=people)
        thread.start()
        waiting.wait(admin, project, asked.keys(), limit_s=30, poll_s=0.02)
        thread.join()
        assert_complete(admin.pull(project, asked.keys()), fake, "faults", tmp_path)


@pytest.mark.labelstudio
def test_a_real_server_killed_in_the_middle_of_a_push(real_label_studio, tmp_path):
    folder = tmp_path / "label-studio"
    folder.mkdir(mode=0o700)
    for name in ("server.json", "label_studio.sqlite3", ".env"):
        shutil.copy2(Path(real_label_studio.data_dir) / name, folder / name)
    try:
        running = local.start(folder)
        with Proxy(running.url) as proxy:
            admin = LabelStudio(proxy.url, running.api_key)
            project, asked = admin.ensure_project("killed"), manifest(tmp_path, QUERIES)
            stop = threading.Event()

            def kill() -> None:  # once the first tasks are on their way
                while not any(line.endswith("/import") for line in list(proxy.requests)) and not stop.is_set():
                    time.sleep(0.002)
                os.kill(process.pid(folder), signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                admin.push(project, asked, tmp_path)
            except Unreachable as error:
                check_message(error, running)
            finally:
                stop.set()
                killer.join()
            process.wait_while(lambda: process.is_running(folder), patience_s=10)
            running = local.start(folder)
            proxy.target = running.url
            answers = run_again_until_done(proxy, running, "killed", tmp_path)
            assert_complete(answers, running, "killed", tmp_path)
    finally:
        local.stop(folder)


# --- tokens and clocks ---


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600])
def test_an_access_token_that_expires_while_people_are_waited_for(tmp_path, ahead_s):
    """Our clock and the server's may differ: a token that the server refuses may be valid by our clock."""
    with FakeLabelStudio(clock_s=ahead_s, token_life_s=1.5) as fake, Proxy(fake.url) as proxy:
        admin = LabelStudio(proxy.url, fake.personal_access_token)
        project, asked = admin.ensure_project("faults"), manifest(tmp_path, QUERIES)
        admin.push(project, asked, tmp_path)
        time.sleep(2.0)
        SimulatedExpert(LabelStudio(proxy.url, fake.expert_api_key), everything).answer(project, asked.keys())
        waiting.wait(admin, project, asked.keys(), limit_s=10)
        assert_complete(admin.pull(project, asked.keys()), fake, "faults", tmp_path)


def test_an_expired_access_token_does_not_double_a_post(tmp_path):
    with FakeLabelStudio(clock_s=3600, token_life_s=0.5) as fake, Proxy(fake.url) as proxy:
        admin = LabelStudio(proxy.url, fake.personal_access_token)
        project, asked = admin.ensure_project("faults"), manifest(tmp_path, QUERIES)
        time.sleep(0.6)
        admin.push(project, asked, tmp_path)
        assert len(fake.tasks) == QUERIES


def test_a_revoked_personal_access_token_says_where_to_get_another(fake):
    with Proxy(fake.url) as proxy:
        admin = LabelStudio(proxy.url, fake.personal_access_token)
        admin.check()
        proxy.fail("GET", "whoami", "401", times=100)
        proxy.fail("POST", "token/refresh", "401", times=100)
        with pytest.raises(AnnotationError, match="/user/account into `LABEL_STUDIO_API_KEY`") as caught:
            admin.check()
        assert fake.personal_access_token not in str(caught.value)
        assert sum("whoami" in line for line in proxy.requests) <= 3, "it is not asked for ever"


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_who_is_there_does_not_depend_on_our_clock(tmp_path, ahead_s):
    with FakeLabelStudio(clock_s=ahead_s) as fake:
        admin, expert = LabelStudio(fake.url, fake.api_key), LabelStudio(fake.url, fake.expert_api_key)
        project, asked = admin.ensure_project("faults"), manifest(tmp_path, 2)
        admin.push(project, asked, tmp_path)
        (task, _) = admin.tasks(project, asked.keys())
        expert.annotate(task, expert=EXPERT, result=[], lead_time=1.0)
        progress = admin.progress(project, asked.keys())
        assert progress.is_here(EXPERT)
        assert abs(progress.now - datetime.now(UTC) - timedelta(seconds=ahead_s)) < timedelta(seconds=5)
