"""The webhook: each event once, and a listener costs nothing but a warning."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labelstudio.client import waiting
from labelstudio.client.progress import Progress
from labelstudio.client.projects import Project
from labelstudio.client.webhook import Webhook
from labelstudio.exchange.records import AnnotationError

EXPERT = "expert@localhost.local"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


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
