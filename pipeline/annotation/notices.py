"""The notice on a project's page while there is nothing to answer: why, since when, and what comes then.

The notice stands before the instructions with which the page opens. So the link works before the first round, between
rounds, and after the last round. A server that is away costs a warning and nothing else.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from labelstudio.client.backend import LabelStudio
from labelstudio.client.projects import Project
from labelstudio.exchange.records import AnnotationError, Manifest
from labelstudio.server import checkout
from pipeline.annotation.collecting import archive_of

WAITS = Path(".dvc/tmp/waits")  # in the checkout: one file for each project's `Wait`

BEFORE = (
    "<p><b>There is nothing to answer yet.</b> The computer has been learning without experts since {since}. {length} "
    "Then reload this page, and the first image appears. Until then, you can read how to answer.</p><br>"
)
BETWEEN = (
    "<p><b>Round {after} has its answers: thank you.</b> The computer has been learning from them since {since}. "
    "{length} Then reload this page: it shows the next images or, after the last round, what your marks did.</p><br>"
)
AFTER = (
    "<p><b>All rounds so far have their answers: thank you.</b> There is nothing to answer now.</p><p>{effect}</p><br>"
)
UNKNOWN = "This takes about 4 minutes in the demo, and longer with more or larger images."
KNOWN = "The wait before this one took {}."


@dataclass(frozen=True)
class Wait:
    """How long a project's experts wait.

    Attributes:
        since: The time of the wait's beginning; None while a round is open, and after the last round.
        after: The round before the wait; None before the first round.
        took_s: The length of the wait before it, in seconds; None if there was none.
    """

    since: str | None = None
    after: str | None = None
    took_s: float | None = None


def begins(client: LabelStudio, project: Project) -> None:
    """Say at the start of a run that the first round is not open yet; repeat with today's time what a stopped run said.

    The notice of a project with earlier questions stays.
    """
    before = _read(project)
    if before.since is None and (archive_of(project.title).exists() or client.tasks(project)):
        return
    _wait(client, project, after=before.after)


def opens(client: LabelStudio, project: Project, open_queries: Manifest) -> None:
    """Withdraw the notice, since a round opens; nothing opens without queries."""
    if not open_queries.queries:
        return
    before = _read(project)
    took_s = before.took_s if before.since is None else _until_now(before.since)
    _write(project, Wait(took_s=took_s))
    _announce(client, project, "")


def closes(client: LabelStudio, project: Project, round: str) -> None:
    """Say that the round has its answers, and that the computer learns from them."""
    _wait(client, project, after=round)


def ends(client: LabelStudio, project: Project, effect: str) -> None:
    """Say that all rounds have their answers, and what the marks did."""
    _write(project, Wait(took_s=_read(project).took_s))
    shown = re.sub(r"(https?://\S+)", r'<a href="\1">\1</a>', html.escape(effect)).replace("\n", "<br>")
    _announce(client, project, AFTER.format(effect=shown))


def _wait(client: LabelStudio, project: Project, *, after: str | None) -> None:
    now = datetime.now().astimezone()
    wait = Wait(now.isoformat(), after, _read(project).took_s)
    _write(project, wait)
    length = UNKNOWN if wait.took_s is None else KNOWN.format(_words(wait.took_s))
    text = BEFORE if after is None else BETWEEN
    _announce(client, project, text.format(after=after, since=f"{now:%H:%M} (UTC{now:%z})", length=length))


def _announce(client: LabelStudio, project: Project, notice: str) -> None:
    try:
        client.announce(project, notice)
    except AnnotationError as error:
        print(f"warning: the page of {project.title!r} does not say what experts wait for: {error}")


def _until_now(since: str) -> float:
    return (datetime.now().astimezone() - datetime.fromisoformat(since)).total_seconds()


def _words(seconds: float) -> str:
    """Return a length of time as people say it."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return "a minute" if minutes else "less than a minute"
    return f"{minutes} minutes" if minutes < 120 else f"{round(minutes / 60)} hours"


def _path(project: Project) -> Path:
    return checkout.home() / WAITS / f"{archive_of(project.title).stem}.json"


def _read(project: Project) -> Wait:
    try:
        kept = Wait(**json.loads(_path(project).read_text(encoding="utf-8")))
        _words(kept.took_s or 0.0)
        _until_now(kept.since or "2000-01-01T00:00+00:00")
        return kept
    except (OSError, ValueError, TypeError, OverflowError):
        return Wait()  # a damaged file costs the length of the last wait


def _write(project: Project, wait: Wait) -> None:
    path = _path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(wait)) + "\n", encoding="utf-8")
