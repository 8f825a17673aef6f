"""Waiting for people: how long, for how many, who is at the page, and the webhook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from e2e.project import ROOT, environment_for
from fakes.queries import manifest
from rich.console import Console

from labelstudio.client import waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.patience import Patience
from labelstudio.client.progress import Progress
from labelstudio.client.projects import Project
from labelstudio.client.webhook import Webhook
from labelstudio.exchange.records import AnnotationError, Answer
from labelstudio.server import accounts

ADMIN, EXPERT = "admin@localhost.local", "expert@localhost.local"
NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture
def asked(fake, tmp_path):
    """The administrator's client, a project with four queries, and a way for the expert to answer the nth."""
    admin, expert = LabelStudio(fake.url, fake.api_key), LabelStudio(fake.url, fake.expert_api_key)
    project, queries = admin.ensure_project("digits"), manifest(tmp_path, 4)
    admin.push(project, queries, tmp_path)
    tasks = admin.tasks(project, queries.keys())

    def give(n: int) -> None:
        expert.annotate(tasks[n], expert=EXPERT, result=[], lead_time=3.0)

    return admin, project, list(queries.keys()), give


# --- who has done what ---


def answer(key: str, expert: str, minutes_ago: float, lead_time: float | None = 10.0, skipped: bool = False) -> Answer:
    when = (NOON - timedelta(minutes=minutes_ago)).isoformat()
    return Answer(key, key, expert, 1, when, when, lead_time, skipped, None)


def test_progress_counts_queries_and_people():
    answers = [
        *[answer("a", "ada", 90, 10.0), answer("b", "ada", 60, 30.0), answer("c", "ada", 50, 200.0)],
        *[answer("a", "bob", 2), answer("d", "bob", 1, skipped=True), answer("b", "bob", 3, skipped=True)],
    ]
    seen = {"eve": NOON - timedelta(minutes=1), "ada": NOON - timedelta(minutes=40), "tom": NOON - timedelta(days=9)}
    progress = Progress.of(set("abcdef"), answers, seen=seen, now=NOON)
    assert (progress.asked, progress.answered, progress.skipped) == (6, 3, 1)
    assert list(progress.per_expert) == ["ada", "bob", "eve"], "tom is neither here nor has he answered"
    ada, bob = progress.per_expert["ada"], progress.per_expert["bob"]
    assert (ada.answered, ada.skipped, ada.median_s) == (3, 0, 30.0)
    assert (bob.answered, bob.skipped, bob.median_s) == (1, 2, 10.0)
    assert [progress.is_here(expert) for expert in progress.per_expert] == [False, True, True]


def test_the_table_says_it(asked, monkeypatch):
    admin, project, keys, give = asked
    give(0)
    give(2)
    console = Console(record=True, width=120)
    console.print(waiting._display(project, admin.progress(project, keys), "trouble"))
    text = console.export_text()
    assert "digits: 2 of 4 answered, 0 skipped" in text
    assert [word for line in text.splitlines() if EXPERT in line for word in line.replace("│", " ").split()] == [
        *[EXPERT, "2", "0", "3", "s", "now"]
    ]
    assert f"to answer, open {project.url}" in text
    assert "trouble" in text


@pytest.mark.labelstudio
def test_an_expert_who_saves_a_draft_is_there(real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    project, queries = admin.ensure_project("drafts"), manifest(tmp_path, 2)
    admin.push(project, queries, tmp_path)
    browser = accounts.Browser(real_label_studio.url)
    person = accounts.Account(email="drafter@example.org", password="correct horse battery")
    link = accounts.invitation(real_label_studio.url, real_label_studio.admin)
    browser.post_form(link.removeprefix(real_label_studio.url), person)
    (task, _) = admin.tasks(project, queries.keys())
    reply = browser.session.post(
        f"{admin.url}/api/tasks/{task.id}/drafts",
        json={"result": [], "lead_time": 1},
        headers={"X-CSRFToken": browser.session.cookies["csrftoken"], "Referer": admin.url},
    )
    assert reply.status_code == 201
    progress = admin.progress(project, queries.keys())
    assert progress.is_here("drafter@example.org")
    assert progress.per_expert["drafter@example.org"].answered == 0
    assert ADMIN not in progress.per_expert


# --- how long, and for how many ---


def test_patience_says_what_the_environment_says():
    assert Patience.of({}) == Patience(None, None)
    assert Patience.of({"ANNOTATE_WAIT_S": "", "ANNOTATE_DEADLINE": "", "ANNOTATE_QUORUM": ""}) == Patience()
    assert Patience.of({"ANNOTATE_WAIT_S": "0", "ANNOTATE_QUORUM": "18"}) == Patience(0.0, 18)
    soon = datetime.now() + timedelta(seconds=100)
    assert Patience.of({"ANNOTATE_DEADLINE": soon.isoformat()}).limit_s == pytest.approx(100, abs=2)
    utc = soon.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    assert Patience.of({"ANNOTATE_DEADLINE": utc}).limit_s == pytest.approx(100, abs=2)
    assert Patience.of({"ANNOTATE_DEADLINE": utc, "ANNOTATE_WAIT_S": "5"}).limit_s == 5
    assert Patience.of({"ANNOTATE_DEADLINE": "2020-01-01T10:00"}).limit_s == 0, "what is past is over"
    assert Patience.of({"ANNOTATE_DEADLINE": "00:00"}).limit_s == 0, "a time is today's"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("WAIT_S", "soon"), ("WAIT_S", "-1"), ("WAIT_S", "inf"), ("WAIT_S", "nan")],
        *[("QUORUM", "0"), ("QUORUM", "18/20"), ("QUORUM", "-3")],
        *[("DEADLINE", "2 pm"), ("DEADLINE", "25:00"), ("DEADLINE", "2026-13-01"), ("DEADLINE", "14")],
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(
        AnnotationError, match=f"^`ANNOTATE_{name}` must be .* not '{value}'. Fix: correct or unset it.$"
    ):
        Patience.of({f"ANNOTATE_{name}": value})


def test_a_quorum_counts_the_whole_round():
    patience = Patience(quorum=18)
    assert patience.enough(20) == 18
    assert patience.enough(15, before=5) == 13
    assert patience.enough(1, before=19) == 0
    assert patience.enough(10) == 10, "a small round is asked for no more than it has"
    assert Patience().enough(20) == 20


def test_a_deadline_with_a_quorum_waits_for_all_and_goes_on_with_enough(asked, capsys):
    admin, project, keys, give = asked
    for n in range(3):
        give(n)
    begin = time.monotonic()
    waiting.wait(admin, project, keys, limit_s=0.4, enough=3, poll_s=0.05)
    assert time.monotonic() - begin >= 0.4, "the fourth may still come"
    assert "3 of 4 queries are answered, which is enough" in capsys.readouterr().err
    with pytest.raises(
        AnnotationError, match=r"^3/4 answered .*/data\?labeling=1, answer, then run `dvc repro` again\.$"
    ):
        waiting.wait(admin, project, keys, limit_s=0, enough=4)
    give(3)
    begin = time.monotonic()
    waiting.wait(admin, project, keys, limit_s=60, enough=3)
    assert time.monotonic() - begin < 5


def test_too_few_at_the_deadline_says_how_many_are_wanted(asked):
    admin, project, keys, give = asked
    give(0)
    with pytest.raises(
        AnnotationError, match=r"^1/4 answered .* \(3 are enough\)\. Fix: .* then run `dvc repro` again\.$"
    ):
        waiting.wait(admin, project, keys, limit_s=0, enough=3)


def test_a_quorum_alone_is_enough_at_once(asked):
    admin, project, keys, give = asked
    give(0)
    give(1)
    waiting.wait(admin, project, keys, limit_s=None, enough=2)


# --- the webhook ---


@pytest.fixture
def listener():
    """A local HTTP server; ``behave`` is the status it answers with, or "hang"."""

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if server.behave == "hang":
                return released.wait(30)
            self.send_response(server.behave)
            self.end_headers()
            return None

        def log_message(self, *_):
            pass

    heard, released = [], threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.daemon_threads = True
    server.heard, server.behave, server.url = heard, 200, f"http://127.0.0.1:{server.server_port}/hooks/s3cret"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    released.set()
    server.shutdown()
    server.server_close()


def webhook(url: str, told: Path, project: Project, keys: list[str], round: str = "00") -> Webhook:
    return Webhook(url=url, told=told, project=project, round=round, keys=keys)


def settled(listener, count: int) -> list[str]:
    deadline = time.monotonic() + 5
    while len(listener.heard) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # for one too many
    return sorted(body["event"] for body in listener.heard)


def test_each_event_is_sent_once_however_often_the_round_runs(asked, listener, tmp_path, fake):
    admin, project, keys, give = asked

    def run(round: str = "00") -> None:
        tell = webhook(listener.url, tmp_path / "told", project, keys, round=round).tell
        waiting.wait(admin, project, keys, limit_s=0, tell=tell)

    for _ in range(2):
        with pytest.raises(AnnotationError):
            run()
    assert settled(listener, 1) == ["opened"]
    give(0)
    give(1)
    for _ in range(2):
        with pytest.raises(AnnotationError):
            run()
    assert settled(listener, 2) == ["half-way", "opened"]
    give(2)
    give(3)
    for _ in range(2):
        run()
    assert settled(listener, 3) == ["closed", "half-way", "opened"]
    run(round="01")
    assert settled(listener, 4) == ["closed", "closed", "half-way", "opened"], "another round, which closes"
    opened = next(body for body in listener.heard if body["event"] == "opened")
    assert opened == {
        "event": "opened",
        "project": "digits",
        "round": "00",
        "asked": 4,
        "answered": 0,
        "url": project.url,
        "text": f"digits, round 00 opened: 0 of 4 answered. {project.url}",
    }
    assert fake.api_key not in json.dumps(listener.heard)
    assert EXPERT not in json.dumps(listener.heard)


@pytest.mark.parametrize("trouble", [500, "nobody", "no address"])
def test_a_broken_listener_costs_a_warning(listener, tmp_path, capsys, trouble):
    listener.behave = trouble
    url = {"nobody": "http://127.0.0.1:9/s3cret", "no address": "s3cret"}.get(trouble, listener.url)
    project = Project(1, "digits", "http://127.0.0.1/projects/1", name="digits", created_at=NOON.isoformat())
    progress = Progress(asked=1, answered=0, skipped=0, per_expert={}, now=NOON)
    webhook(url, tmp_path, project, ["k"]).tell("opened", progress)
    deadline, said = time.monotonic() + 10, ""
    while "\n" not in said and time.monotonic() < deadline:
        time.sleep(0.01)
        said += capsys.readouterr().err
    assert said.startswith("warning: `ANNOTATE_WEBHOOK` did not get an event (")
    assert "s3cret" not in said


def test_a_slow_listener_holds_nothing_up(asked, listener, tmp_path):
    admin, project, keys, give = asked
    listener.behave = "hang"
    for n in range(4):
        give(n)
    begin = time.monotonic()
    tell = webhook(listener.url, tmp_path / "told", project, keys).tell
    waiting.wait(admin, project, keys, limit_s=None, tell=tell)
    assert time.monotonic() - begin < 2
    assert settled(listener, 1) == ["closed"]


# --- several scenarios at once ---

STAGE = """
import sys
from types import SimpleNamespace
from pipeline.commands.stage import app
from pipeline.data import prepared

prepared.read = lambda folder: SimpleNamespace(digest="digits")
app(["annotate", *sys.argv[1:]])
"""


@pytest.fixture
def two_scenarios(fake, tmp_path):
    """A DVC project of two annotate stages, and its environment at the fake server."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (scenario,) = params["scenarios"].values()
    params["scenarios"] = {"one": scenario, "two": scenario}
    params["hitl"]["scenarios"] = ["one", "two"]
    params["annotate"]["expert"] = "human"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    stages = {}
    for name in ("one", "two"):
        folder = tmp_path / "runs" / name / "00"
        folder.mkdir(parents=True)
        queries = manifest(folder, 2)
        type(queries)(name, "00", queries.queries).write(folder / "queries.json")
        stages[f"annotate-{name}"] = {
            "cmd": f"python stage.py --scenario {name} --round 00",
            "outs": [f"runs/{name}/00/answers.json"],
        }
        stages[f"train-{name}"] = {
            "cmd": f"cp runs/{name}/00/answers.json {name}.json",
            "deps": [f"runs/{name}/00/answers.json"],
            "outs": [f"{name}.json"],
        }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "stage.py").write_text(STAGE)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    environment = {**environment_for(fake), "PYTHONPATH": str(ROOT), "ANNOTATE_WAIT_S": "0", "NO_COLOR": "1"}
    return tmp_path, environment


def repro(folder, environment) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--keep-going"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.slow
def test_several_scenarios_can_be_open_at_once(fake, two_scenarios):
    folder, environment = two_scenarios
    code, output = repro(folder, environment)
    assert code != 0
    assert output.count("error: 0/2 answered") == 2, output
    assert output.count("run `dvc repro` again") == 2
    assert "Traceback" not in output
    assert len(fake.tasks) == 4, "both scenarios' questions are there"

    expert = LabelStudio(fake.url, fake.expert_api_key)
    project = expert.ensure_project("two, seed 0")
    for task in expert.tasks(project, [row["data"]["key"] for row in fake.tasks.values()]):
        expert.annotate(task, expert=EXPERT, result=[], lead_time=1.0)
    code, output = repro(folder, environment)
    assert code != 0
    assert (folder / "two.json").exists(), "what is answered goes on"
    assert not (folder / "one.json").exists()
    assert len(json.loads((folder / "two.json").read_text())) == 2
    assert len(fake.tasks) == 4


def stage(folder, environment) -> str:
    """One scenario's stage, without DVC around it; what it says."""
    done = subprocess.run(
        [sys.executable, "stage.py", "--scenario", "one", "--round", "00"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stdout


def test_a_bad_value_ends_before_anything_is_asked(fake, two_scenarios):
    folder, environment = two_scenarios
    (folder / ".env").write_text("ANNOTATE_QUORUM=most\n")
    said = stage(folder, environment)
    assert said.startswith("error: `ANNOTATE_QUORUM` must be a number of queries, 1 or more, not 'most'")
    assert fake.requests == []


@pytest.mark.slow
def test_no_token_is_in_any_output(fake, two_scenarios, listener):
    folder, environment = two_scenarios
    token = fake.personal_access_token
    environment["ANNOTATE_WEBHOOK"] = listener.url
    outputs = [repro(folder, environment)[1]]
    for key in (token, token[:-4] + "AAAA", "wrong-legacy-key-0123456789"):
        outputs.append(stage(folder, {**environment, "LABEL_STUDIO_API_KEY": key}))
    assert "does not accept the API key" in outputs[-1]
    assert listener.heard
    secrets = [fake.api_key, fake.expert_api_key, token, "wrong-legacy-key-0123456789", "s3cret"]
    written = [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    for secret in secrets:
        assert secret not in "".join(outputs) + json.dumps(listener.heard)
        assert not any(secret.encode() in content for content in written), secret


def test_interrupted_it_says_what_to_do_next(fake, two_scenarios):
    folder, environment = two_scenarios
    process = subprocess.Popen(
        [sys.executable, "stage.py", "--scenario", "one", "--round", "00"],
        cwd=folder, env={**environment, "ANNOTATE_WAIT_S": ""}, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as at a terminal; pytest-xdist ignores it
    )  # fmt: skip
    try:
        assert "0/2 answered" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "no answer is lost. Run `dvc repro` to continue." in said
    assert "Traceback" not in said
    assert os.listdir(folder / "runs/one/00").count("answers.json") == 0
