"""Push a round: compare its queries with the project's tasks, then create, mend and withdraw tasks.

Nothing on a server keeps tasks unique, but each task carries its query's key. So all tasks are listed, the missing
ones are posted, and after every error all tasks are listed again. A push can be killed at any moment and repeated.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from labelstudio.client import listing
from labelstudio.client.connection import Connection, Unreachable, attempts, settle
from labelstudio.client.projects import Project
from labelstudio.exchange.records import AnnotationError, Manifest, Query
from labelstudio.exchange.tasks import Task, heat, picture, tasks

FILES, TASKS = 100, 500  # in one request; Label Studio takes no more files
HEAT = "-heat"  # follows the query's key in the name of an uploaded picture of the saliency

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """All changes after which each query of a round has one task that experts see, and no other query has one.

    Attributes:
        missing: Queries without a task, by key.
        bare: Tasks without regions, by key.
        withdraw: Tasks that experts must not see any more, by id.
        show: Withdrawn tasks that experts must see again, by id.
    """

    missing: dict[str, Query] = field(default_factory=dict)
    bare: dict[str, Task] = field(default_factory=dict)
    withdraw: dict[int, Task] = field(default_factory=dict)
    show: dict[int, Task] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.bare or self.withdraw or self.show)

    def repeated(self, done: Plan) -> int:
        """Count the changes of this plan that ``done`` contains, too."""
        return (
            len(self.missing.keys() & done.missing.keys())
            + len(self.bare.keys() & done.bare.keys())
            + len(self.withdraw.keys() & done.withdraw.keys())
            + len(self.show.keys() & done.show.keys())
        )


def plan(manifest: Manifest, listed: list[Task]) -> Plan:
    """Compare a round's queries with a project's tasks.

    A task of the same round whose query is no longer asked, or is asked in another way (``Task.shows``), is withdrawn,
    unless it has an answer. It is not changed: an expert may have it open, and that answer belongs to the
    old question. Label Studio may repeat an import by itself
    when SQLite was locked in the middle of it. Of two tasks of one query, the first with an answer stays, or else the
    first.
    """
    queries = manifest.keys()
    asked = sorted((task for task in listed if task.key in queries), key=lambda task: (not task.experts(), task.id))
    fitting = [task for task in asked if task.experts() or task.shows(queries[task.key])]
    present = {task.key: task for task in reversed(fitting)}
    unasked = [task for task in listed if task.round == manifest.round and task.key not in queries]
    doubles = [task for task in asked if task is not present.get(task.key)]
    return Plan(
        missing=_without(present, queries),
        # Label Studio creates an import's tasks first and their predictions afterwards. On a busy SQLite the second
        # step can fail alone, and experts would see pictures without regions.
        bare={key: task for key, task in present.items() if not task.predictions and not task.annotations},
        withdraw={task.id: task for task in [*unasked, *doubles] if not task.withdrawn and not task.experts()},
        show={task.id: task for task in present.values() if task.withdrawn},
    )


def push(
    server: Connection, project: Project, *, manifest: Manifest, folder: Path, known: list[Task] | None = None
) -> int:
    """Give every query of the manifest one task, and return the number of missing tasks.

    Args:
        server: The connection of the account that owns the project.
        project: The project that gets the tasks.
        manifest: The queries of one round.
        folder: The folder to which the manifest's picture paths are relative.
        known: The project's tasks, if they have just been listed.

    Raises:
        AnnotationError: if the server accepts a change but does not show it.
        Unreachable: if the server stays unreachable.
    """

    def next_plan(done: Plan) -> Plan:
        """List the tasks again; to repeat a change that the server has accepted could duplicate tasks."""
        new = plan(manifest, listing.tasks(server, project))
        if lost := new.repeated(done):
            raise AnnotationError(
                f"{server.url} accepted changes to {lost} tasks of the project {project.title!r}, but does not show "
                "them. Fix: look at the project there, then run this again."
            )
        return new

    done = Plan()
    todo = next_plan(done) if known is None else plan(manifest, known)
    count = len(todo.missing)
    while todo:
        for attempt in attempts():
            if attempt.retry_state.attempt_number > 1:
                todo = next_plan(done)  # the server may have done a part
            with attempt:
                apply(server, todo, project=project, manifest=manifest, folder=folder)
        done, todo = todo, next_plan(todo)
    return count


def apply(server: Connection, todo: Plan, *, project: Project, manifest: Manifest, folder: Path) -> None:
    """Send a plan's changes to the server, each once (arguments as for ``push``)."""
    if todo.missing:
        _post_missing(server, project, manifest=manifest, missing=todo.missing, folder=folder)
    if todo.bare:
        _give_regions(server, manifest, todo.bare)
    for task in todo.withdraw.values():
        _set_overlap(server, task, overlap=0)
    if todo.show:
        experts = int(server.call(lambda sdk: sdk.projects.get(project.id))["maximum_annotations"])
        for task in todo.show.values():
            _set_overlap(server, task, overlap=experts)


def _post_missing(
    server: Connection, project: Project, *, manifest: Manifest, missing: dict[str, Query], folder: Path
) -> None:
    """Upload the pictures that the server has not got, then create the tasks."""
    uploads = _uploads(server, project)
    if missing.keys() & uploads.keys():
        # A push was interrupted after its uploads; its tasks may appear in a moment.
        settle()
        listed = listing.tasks(server, project, keys=missing)
        present = {task.key for task in listed if task.shows(missing[task.key])}
        missing = _without(present, missing)
    pictures = {name: query for key, query in missing.items() for name in (key, _heat_name(key, query))}
    new = [(name, query) for name, query in pictures.items() if name not in uploads]
    for some in _batches(new, FILES):
        server.upload(project.id, {name: _file(name, query, folder) for name, query in some})
    if new:
        uploads = _uploads(server, project)
    if lost := [name for name in pictures if name not in uploads]:
        raise Unreachable(f"{server.url} lost {len(lost)} of the uploaded pictures. Fix: run this again.")

    # Of the whole manifest, so that each task shows its position among all queries.
    posts = tasks(
        manifest,
        lambda query: uploads.get(query.key(manifest.scenario), ""),
        lambda query: uploads.get(_heat_name(query.key(manifest.scenario), query), ""),
    )
    posts = [post for post in posts if post["data"]["key"] in missing]
    for batch in _batches(posts, TASKS):
        _import(server, project, batch)


def _import(server: Connection, project: Project, batch: list[Any]) -> None:
    server.call(lambda sdk: sdk.projects.import_tasks(project.id, request=batch))


def _uploads(server: Connection, project: Project) -> dict[str, str]:
    """Return the URLs of the pictures that this account uploaded to the project, by their names without a suffix."""
    rows = server.call(lambda sdk: sdk.files.list(project.id, all_=True))
    # Label Studio keeps "<key>.png" as "upload/<project>/<8 random digits>-<key>.png".
    names = {row["file"]: row["file"].rsplit("/", 1)[-1].partition("-")[2] for row in rows}
    return {name.partition(".")[0]: f"{server.path}/data/{file}" for file, name in names.items()}


def _give_regions(server: Connection, manifest: Manifest, bare: dict[str, Task]) -> None:
    """Post the regions of tasks that have none."""
    posts = {post["data"]["key"]: post for post in tasks(manifest, lambda query: query.image, lambda query: query.heat)}
    for key, task in bare.items():
        _post_prediction(server, task, posts[key]["predictions"][0])


def _post_prediction(server: Connection, task: Task, prediction: dict[str, Any]) -> None:
    server.call(lambda sdk: sdk.predictions.create(task=task.id, **prediction))


def _set_overlap(server: Connection, task: Task, *, overlap: int) -> None:
    """Let so many experts answer a task; with 0, Label Studio shows the task to nobody."""
    # Label Studio does not recompute by itself whether the task is complete.
    is_labeled = len(task.experts()) >= overlap
    server.call(lambda sdk: sdk.tasks.update(str(task.id), overlap=overlap, is_labeled=is_labeled))


def _without(present: Container[str], queries: dict[str, Query]) -> dict[str, Query]:
    return {key: query for key, query in queries.items() if key not in present}


def _heat_name(key: str, query: Query) -> str:
    """Return the name of the saliency's upload; a query without a picture of the saliency shows its own picture."""
    return key + HEAT if query.heat else key


def _file(name: str, query: Query, folder: Path) -> tuple[str, bytes]:
    is_heat = name.endswith(HEAT)
    path, content = (query.heat, heat(query, folder)) if is_heat else (query.image, picture(query, folder))
    return name + Path(path).suffix, content


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
