"""A scenario's project at Label Studio: known by its mark and its number, created with our labelling interface."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labelstudio import exchange
from labelstudio.client.connection import Connection, Unreachable, settle
from labelstudio.exchange.interfaces import canonical, reasons_of, with_reasons
from labelstudio.exchange.records import AnnotationError, moment
from labelstudio.exchange.tasks import MODEL_VERSION

INTERFACE = (Path(exchange.__file__).parent / "config.xml").read_text(encoding="utf-8")
EFFECT = (Path(exchange.__file__).parent / "effect.xml").read_text(encoding="utf-8")
INSTRUCTIONS = (Path(exchange.__file__).parent / "instructions.html").read_text(encoding="utf-8")

# SHA-256 of the interfaces before there was a label for evidence, before there was one for pre-filled marks, and before
# brightness and contrast. Their labels are all in today's interface, so that their projects get today's, and keep their
# answers.
EARLIER = {
    INTERFACE: (
        "e3e769d35160ea388dd2008ecd59df852b5537acdf6643d962eca8116d5d9d9d",
        "03f8f235c453acee4e0d8a3e195dd06ec368d383539e570c27143b9d4194c9e2",
        "9ea0ccd02f137811f5752eaa8550bfed5c3d7fdfbf5bab0fa37ad09337109534",
    ),
    EFFECT: ("d56ca9bf968e3a0f2b18bf0c121dfbbb090c1ffaf77b3c8535165ab83a4f9f3a",),
}

TITLE_LENGTH = range(3, 51)  # Label Studio's own limits
MARK = "<!-- lookaway: "  # begins a comment, which neither experts nor Label Studio see
# Label Studio drops comments from instructions, so that the notice before them has an element of its own.
NOTICE = '<div class="lookaway">{}</div>'
NOTICED = re.compile(NOTICE.format(".*?"), re.DOTALL)

Known = tuple[int, str]  # a project's number and the time of its creation


@dataclass(frozen=True)
class Project:
    """A project on the server.

    Attributes:
        id: The project's number.
        title: Our title, by which we know the project.
        url: The page where experts start.
        name: The title on the server, which an administrator may have changed.
        created_at: The server's time of the creation.
    """

    id: int
    title: str
    url: str
    name: str
    created_at: str

    def known(self) -> Known:
        """Return the number and the time of the creation, by which the next call knows the project."""
        return self.id, self.created_at


def ensure(
    server: Connection,
    title: str,
    *,
    experts: int = 1,
    interface: str = INTERFACE,
    known: Known | None = None,
    reasons: Sequence[str] = (),
) -> Project:
    """Return our project with this title, under any name, and create it if there is none.

    Our projects have a mark in their labelling interface, a comment. So a renamed project is found, and a project of
    somebody else is never taken. A project without any mark may be of an earlier version: if it has our title and our
    interface, it gets the mark.

    A project with an earlier interface of ours gets today's one. Reasons that a project offers stay, since answers may
    have them.

    Args:
        server: The connection of the account that owns the project.
        title: 3 to 50 characters.
        experts: The number of experts who answer each task.
        interface: The labelling interface, in Label Studio's XML.
        known: The project that was used before.
        reasons: The reasons that experts may give for a mark, with a key each.

    Raises:
        AnnotationError: if the title is too long, or the project has another interface and stays unchanged, or several
            projects have the mark.
    """
    if len(title) not in TITLE_LENGTH:
        raise AnnotationError(
            f"the project title {title!r} has {len(title)} characters, but Label Studio takes "
            f"{TITLE_LENGTH.start} to {TITLE_LENGTH.stop - 1}. Fix: rename the scenario."
        )
    found = _find(server, title, interface, known)
    if found is None:
        new = _new(title, experts, with_reasons(interface, reasons))
        try:
            server.call(lambda sdk: sdk.projects.create(**new))
        except Unreachable:
            # The server may have created the project all the same: look again before another POST.
            settle()
        found = _find(server, title, interface, known)
    if found is None:
        raise Unreachable(f"{server.url} did not create the project {title!r}. Fix: run this again.")
    number = int(found["id"])
    changes: dict[str, Any] = {}
    if _is_earlier(found, interface):
        changes["expert_instruction"] = INSTRUCTIONS
    there = reasons_of(found["label_config"])
    more = [reason for reason in reasons if reason not in there]
    if changes or more or mark(title) not in found["label_config"]:
        changes["label_config"] = f"{with_reasons(interface, [*there, *more]).rstrip()}\n{mark(title)}"
    if found["maximum_annotations"] != experts:  # Label Studio changes the project's tasks, too
        changes["maximum_annotations"] = experts
    if changes:
        server.call(lambda sdk: sdk.projects.update(number, **changes))
    url = f"{server.url}/projects/{number}/data?labeling=1"
    return Project(number, title, url, name=found["title"], created_at=found["created_at"])


def announce(server: Connection, project: Project, notice: str) -> None:
    """Put a notice before the instructions with which the project's page opens, in the place of an earlier notice.

    The instructions stay as they are, since an administrator may have edited them.

    Args:
        server: The connection of the account that owns the project.
        project: The project.
        notice: HTML without a ``div``; "" for no notice.
    """
    there = server.call(lambda sdk: sdk.projects.get(project.id))["expert_instruction"] or ""
    text = (NOTICE.format(notice) if notice else "") + NOTICED.sub("", there)
    if text != there:
        server.call(lambda sdk: sdk.projects.update(project.id, expert_instruction=text))


def mark(title: str) -> str:
    """Return the comment by which we know the project with this title."""
    return f"{MARK}{hashlib.sha256(title.encode()).hexdigest()[:16]} -->"


def _find(server: Connection, title: str, interface: str, known: Known | None) -> dict[str, Any] | None:
    rows = _all(server)
    used = [row for row in rows if known is not None and _identity(row) == (known[0], moment(known[1]))]
    found = [row for row in used if mark(title) in row["label_config"] or _has_lost_its_mark(row, interface)]
    found = found or [row for row in rows if mark(title) in row["label_config"]]
    fix = f"remove the line `{mark(title)}` from the labelling interface of all but one"
    if len(found) > 1:
        found = _without_halves(server, found, title, interface)
    if not found and known is None:  # otherwise a project of an earlier version would be the known one
        found = [row for row in rows if row["title"] == title and MARK not in row["label_config"]]
        fix = "rename all but one of them"
    if len(found) > 1:
        numbers = ", ".join(str(row["id"]) for row in found)
        raise AnnotationError(
            f"{len(found)} projects at {server.url} may be {title!r}: the numbers {numbers}. Fix: {fix}."
        )
    return _with_our_interface(server, found[0], title, interface) if found else None


def _all(server: Connection) -> list[dict[str, Any]]:
    fields = "id,title,label_config,maximum_annotations,created_at"
    rows = server.pages(lambda sdk, page: sdk.projects.list(include=fields, **page), rows="results", total="count")
    return [{**row, "label_config": row["label_config"] or ""} for row in rows]


def _identity(row: dict[str, Any]) -> tuple[int, datetime]:
    """Return what never changes about a project; numbers alone recur when a server loses its data."""
    return row["id"], moment(row["created_at"])


def _has_lost_its_mark(row: dict[str, Any], interface: str) -> bool:
    """Return True for our interface without a mark, as an editor leaves it that drops comments."""
    return MARK not in row["label_config"] and _is_ours(row, interface)


def _is_ours(row: dict[str, Any], interface: str) -> bool:
    return canonical(row["label_config"]) == canonical(interface) or _is_earlier(row, interface)


def _is_earlier(row: dict[str, Any], interface: str) -> bool:
    theirs = canonical(row["label_config"])
    return hashlib.sha256(theirs.encode()).hexdigest() in EARLIER.get(interface, ())


def _with_our_interface(server: Connection, row: dict[str, Any], title: str, interface: str) -> dict[str, Any]:
    if not _is_ours(row, interface):
        fix = "rename the project there and run this again, which creates a new one"
        if mark(title) in row["label_config"]:
            fix = f"restore the interface there; or remove its line `{mark(title)}`, and a new project is created"
        raise AnnotationError(
            f"the project {row['title']!r} at {server.url}/projects/{row['id']} has another labelling interface than "
            f"ours. Fix: {fix}."
        )
    return row


def _without_halves(
    server: Connection, marked: list[dict[str, Any]], title: str, interface: str
) -> list[dict[str, Any]]:
    """Rename all but the last of the projects that one request created, if these have no tasks, and drop their mark.

    Label Studio repeats a request by itself if SQLite was locked in the middle of it, and keeps the first half.
    """
    made = sorted((row["id"] for row in marked if row["title"] == title), reverse=True)
    halves = [number for number in made[1:] if _is_empty(server, number)]
    for number in halves:
        _retire(server, number, interface)
    return [row for row in marked if row["id"] not in halves]


def _is_empty(server: Connection, number: int) -> bool:
    return bool(server.call(lambda sdk: sdk.tasks.list(project=number, page_size=1))["total"] == 0)


def _retire(server: Connection, number: int, interface: str) -> None:
    server.call(lambda sdk: sdk.projects.update(number, title=f"made twice {number}", label_config=interface))


def _new(title: str, experts: int, interface: str) -> dict[str, Any]:
    return {
        "title": title,
        "label_config": f"{interface.rstrip()}\n{mark(title)}",
        "expert_instruction": INSTRUCTIONS,
        "show_instruction": interface != EFFECT,  # which only shows pictures
        # Pre-filling needs both of these, and the model version can only be set now.
        "show_collab_predictions": True,
        "model_version": MODEL_VERSION,
        "sampling": "Uncertainty sampling",
        # "Label All Tasks" offers a task until so many experts have answered the task.
        "maximum_annotations": experts,
        "show_skip_button": True,
        "enable_empty_annotation": True,
    }
