"""Waiting for people: how long, for how many, and who is at the page."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from fakes.queries import manifest
from rich.console import Console

from labelstudio.client import waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.patience import Patience
from labelstudio.client.progress import Progress
from labelstudio.exchange.records import AnnotationError, Answer
from labelstudio.server import accounts

ADMIN, EXPERT = "admin@localhost.local", "expert@localhost.local"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


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
    utc = soon.astimezone(UTC).isoformat().replace("+00:00", "Z")
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
    assert patience.enough(10) == 10, "a small round is asked for no more than it has"
    assert Patience().enough(20) == 20


@pytest.mark.parametrize("end", [AnnotationError, KeyboardInterrupt])
def test_answers_are_kept_however_the_wait_ends(asked, end, monkeypatch):
    admin, project, keys, give = asked
    give(0)
    if end is KeyboardInterrupt:
        monkeypatch.setattr(waiting.time, "sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
    kept: list[Answer] = []
    with pytest.raises(end):
        waiting.wait(admin, project, keys, limit_s=0 if end is AnnotationError else None, keep=kept.extend)
    assert kept == admin.pull(project, keys) != []


def test_a_quorum_counts_answers_that_are_only_in_the_ledger(asked):
    admin, project, keys, give = asked
    give(0)
    elsewhere = admin.ensure_project("on another machine")
    waiting.wait(admin, elsewhere, keys, limit_s=0, enough=1, known=admin.pull(project, keys))


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
