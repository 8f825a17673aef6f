"""A scenario's project at Label Studio: found by its exact title, created with our labelling interface."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from labelstudio import exchange
from labelstudio.client.connection import Connection, Unreachable, settle
from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.tasks import MODEL_VERSION

INTERFACE = (Path(exchange.__file__).parent / "config.xml").read_text(encoding="utf-8")
EFFECT = (Path(exchange.__file__).parent / "effect.xml").read_text(encoding="utf-8")
INSTRUCTIONS = (Path(exchange.__file__).parent / "instructions.html").read_text(encoding="utf-8")

# SHA-256 of the interface before there was a label for evidence. Its labels are all in today's interface, so that its
# projects get today's, and keep their answers.
EARLIER = {
    INTERFACE: "e3e769d35160ea388dd2008ecd59df852b5537acdf6643d962eca8116d5d9d9d",
    EFFECT: "d56ca9bf968e3a0f2b18bf0c121dfbbb090c1ffaf77b3c8535165ab83a4f9f3a",
}

TITLE_LENGTH = range(3, 51)  # Label Studio's own limits


@dataclass(frozen=True)
class Project:
    """A project on the server; ``url`` is the page where experts start."""

    id: int
    title: str
    url: str


def ensure(server: Connection, title: str, *, experts: int = 1, interface: str = INTERFACE) -> Project:
    """Return the project with exactly this title, and create it if there is none.

    A project with our earlier interface gets today's one.

    Args:
        server: The connection of the account that owns the project.
        title: 3 to 50 characters.
        experts: The number of experts who answer each task.
        interface: The labelling interface, in Label Studio's XML.

    Raises:
        AnnotationError: if the title is too long, or a project with another interface has it, which stays unchanged.
    """
    if len(title) not in TITLE_LENGTH:
        raise AnnotationError(
            f"the project title {title!r} has {len(title)} characters, but Label Studio takes "
            f"{TITLE_LENGTH.start} to {TITLE_LENGTH.stop - 1}. Fix: rename the scenario."
        )
    found = _find(server, title)
    if found is None:
        new = _new(title, experts, interface)
        try:
            server.call(lambda sdk: sdk.projects.create(**new))
        except Unreachable:
            # The server may have created the project all the same: look again before another POST.
            settle()
        _keep_newest(server, title)
        found = _find(server, title)
    if found is None:
        raise Unreachable(f"{server.url} did not create the project {title!r}. Fix: run this again.")
    number = int(found["id"])
    theirs = _canonical(found["label_config"])
    if hashlib.sha256(theirs.encode()).hexdigest() == EARLIER.get(interface):
        server.call(lambda sdk: sdk.projects.update(number, label_config=interface, expert_instruction=INSTRUCTIONS))
    elif theirs != _canonical(interface):
        raise AnnotationError(
            f"the project {title!r} at {server.url}/projects/{number} has another labelling interface than ours. "
            "Fix: rename the project there and run this again, which creates a new one."
        )
    if found["maximum_annotations"] != experts:  # Label Studio changes the project's tasks, too
        server.call(lambda sdk: sdk.projects.update(number, maximum_annotations=experts))
    return Project(number, title, f"{server.url}/projects/{number}/data?labeling=1")


def _find(server: Connection, title: str) -> dict[str, Any] | None:
    exact = _titled(server, title)
    if len(exact) > 1:
        raise AnnotationError(
            f"{len(exact)} projects at {server.url} have the title {title!r}. Fix: rename all but one of them."
        )
    return exact[0] if exact else None


def _titled(server: Connection, title: str) -> list[dict[str, Any]]:
    # The server's filter ignores case and finds parts of titles.
    fields = "id,title,label_config,maximum_annotations"
    rows = server.pages(
        lambda sdk, page: sdk.projects.list(title=title, include=fields, **page), rows="results", total="count"
    )
    return [row for row in rows if row["title"] == title]


def _keep_newest(server: Connection, title: str) -> None:
    """Rename all but the last of the projects that one request created, if these have no tasks.

    Label Studio repeats a request by itself if SQLite was locked in the middle of it, and keeps the first half.
    """
    *halves, _ = sorted(row["id"] for row in _titled(server, title)) or [0]
    for half in halves:
        _rename_empty(server, half)


def _rename_empty(server: Connection, number: int) -> None:
    listed = server.call(lambda sdk: sdk.tasks.list(project=number, page_size=1))
    if listed["total"] == 0:
        server.call(lambda sdk: sdk.projects.update(number, title=f"made twice {number}"))


def _new(title: str, experts: int, interface: str) -> dict[str, Any]:
    return {
        "title": title,
        "label_config": interface,
        "expert_instruction": INSTRUCTIONS,
        "show_instruction": interface == INTERFACE,  # the other interface only shows pictures
        # Pre-filling needs both of these, and the model version can only be set now.
        "show_collab_predictions": True,
        "model_version": MODEL_VERSION,
        "sampling": "Uncertainty sampling",
        # "Label All Tasks" offers a task until so many experts have answered the task.
        "maximum_annotations": experts,
        "show_skip_button": True,
        "enable_empty_annotation": True,
    }


def _canonical(interface: str) -> str:
    """Return the same text for the same interface, however its XML is formatted."""
    try:
        return ElementTree.canonicalize(interface, strip_text=True)
    except ElementTree.ParseError:
        return interface
