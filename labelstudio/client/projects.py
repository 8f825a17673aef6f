"""A scenario's project at Label Studio: found by its exact title, created with our interface."""

from __future__ import annotations

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

TITLE_LENGTH = range(3, 51)  # Label Studio's own limits


@dataclass(frozen=True)
class Project:
    """A project on the server; ``url`` is the page where experts start."""

    id: int
    title: str
    url: str


def ensure(server: Connection, title: str, experts: int = 1, interface: str = INTERFACE) -> Project:
    """The project with exactly this title, created if there is none, whose tasks so many experts answer.

    A project of that title with another labelling interface is somebody else's: it is
    left as it is, and AnnotationError raised.
    """
    if len(title) not in TITLE_LENGTH:
        raise AnnotationError(
            f"{title!r} has {len(title)} characters, and Label Studio takes titles of "
            f"{TITLE_LENGTH.start} to {TITLE_LENGTH.stop - 1}; rename the scenario"
        )
    found = _find(server, title)
    if found is None:
        try:
            server.post("api/projects", json=_new(title, experts, interface))
        except Unreachable:
            # It may have been created all the same: look again before anybody posts again.
            settle()
        _keep_newest(server, title)
        found = _find(server, title)
    if found is None:
        raise Unreachable(f"{server.url} did not create the project {title!r}; run this again")
    if _canonical(found["label_config"]) != _canonical(interface):
        raise AnnotationError(
            f"the project {title!r} at {server.url}/projects/{found['id']} has another labelling interface "
            "than ours; rename it there and run this again, and a new one will be created"
        )
    if found["maximum_annotations"] != experts:  # Label Studio carries it over to the tasks that are there
        server.patch(f"api/projects/{found['id']}", json={"maximum_annotations": experts})
    return Project(found["id"], title, f"{server.url}/projects/{found['id']}/data?labeling=1")


def _find(server: Connection, title: str) -> dict[str, Any] | None:
    exact = _titled(server, title)
    if len(exact) > 1:
        raise AnnotationError(f"{len(exact)} projects at {server.url} are titled {title!r}; rename all but one of them")
    return exact[0] if exact else None


def _titled(server: Connection, title: str) -> list[dict[str, Any]]:
    # The server's filter ignores case and takes parts of titles.
    fields = "id,title,label_config,maximum_annotations"
    rows = server.pages("api/projects", rows="results", total="count", title=title, include=fields)
    return [row for row in rows if row["title"] == title]


def _keep_newest(server: Connection, title: str) -> None:
    """Of projects that came from one request give the title to the last alone, if the others are empty.

    Where SQLite was locked half-way, Label Studio does by itself again what it was asked, with what it had made by
    then still there.
    """
    *halves, _ = sorted(row["id"] for row in _titled(server, title)) or [0]
    for number in halves:
        if server.get("api/tasks", project=number, page_size=1)["total"] == 0:
            server.patch(f"api/projects/{number}", json={"title": f"made twice {number}"})


def _new(title: str, experts: int, interface: str) -> dict[str, Any]:
    return {
        "title": title,
        "label_config": interface,
        "expert_instruction": INSTRUCTIONS,
        "show_instruction": interface == INTERFACE,  # there are none for looking at pictures
        # Pre-filling needs both of these, and the model version can only be set now.
        "show_collab_predictions": True,
        "model_version": MODEL_VERSION,
        "sampling": "Uncertainty sampling",
        # "Label All Tasks" offers a task until so many experts have answered it.
        "maximum_annotations": experts,
        "show_skip_button": True,
        "enable_empty_annotation": True,
    }


def _canonical(interface: str) -> str:
    """The same text for the same interface, however its XML is laid out."""
    try:
        return ElementTree.canonicalize(interface, strip_text=True)
    except ElementTree.ParseError:
        return interface
