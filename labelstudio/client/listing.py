"""A project's tasks as the server lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from labelstudio.client.connection import Connection
from labelstudio.client.projects import Project
from labelstudio.exchange.tasks import Task


def tasks(server: Connection, project: Project, *, keys: Iterable[str] | None = None, first_id: int = 0) -> list[Task]:
    """Return a project's tasks by their ids: all of them, or AnnotationError.

    Args:
        server: The connection of an account that sees the project.
        project: The project.
        keys: The queries whose tasks are returned; None for all.
        first_id: The lowest id to list. Each task takes the server milliseconds, and a project has all rounds' tasks.
    """
    wanted = None if keys is None else set(keys)
    chosen: dict[str, Any] = {"project": project.id, "fields": "all", "resolve_uri": False}
    if first_id:
        later = {"filter": "filter:tasks:id", "operator": "greater_or_equal", "type": "Number", "value": first_id}
        chosen["query"] = json.dumps({"filters": {"conjunction": "and", "items": [later]}})
    rows = server.pages(lambda sdk, page: sdk.tasks.list(**chosen, **page), rows="tasks", total="total")
    ours = [row for row in rows if "key" in row["data"]]
    return [Task.of(row) for row in ours if wanted is None or row["data"]["key"] in wanted]
