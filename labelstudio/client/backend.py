"""What we do at Label Studio: push by key, pull everything, answer.

Nothing on a server keeps tasks unique, so the key in a task's data does: what is there is
listed, what is missing is posted, and after any error everything is listed again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Container, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from labelstudio.client import projects
from labelstudio.client.connection import ATTEMPTS, Connection, Unreachable, pause_s, settle
from labelstudio.client.progress import Progress
from labelstudio.client.projects import INTERFACE, Project
from labelstudio.exchange.records import AnnotationError, Answer, Manifest, Query, moment
from labelstudio.exchange.tasks import Task, heat, picture, tasks

FILES, TASKS = 100, 500  # in one request; Label Studio takes no more files
HEAT = "-heat"  # what an uploaded picture of the saliency has in its name beside the query's key

T = TypeVar("T")


class LabelStudio:
    """One Label Studio, as one account sees it. No message ever contains the API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._server = Connection(url, api_key)
        self._emails: dict[int | None, str] = {}

    @property
    def url(self) -> str:
        """Where the server is, without a slash at the end."""
        return self._server.url

    def check(self) -> str:
        """The account's e-mail; raises AnnotationError if the server or the API key is wrong."""
        return str(self._server.get("api/current-user/whoami")["email"])

    def ensure_project(self, title: str, experts: int = 1, interface: str = INTERFACE) -> Project:
        """The project with exactly this title, created if there is none (see ``projects.ensure``)."""
        return projects.ensure(self._server, title, experts, interface)

    def describe(self, project: Project, text: str) -> None:
        """Set what the project's card says to everybody."""
        self._server.patch(f"api/projects/{project.id}", json={"description": text})

    def keep_only(self, project: Project, keys: Collection[str]) -> list[Task]:
        """Delete all other tasks: for projects that ask nothing, since whoever looked at one has "answered" it.

        Returns those that are kept.
        """
        listed = self.tasks(project)
        if old := [task.id for task in listed if task.key not in keys]:
            path = f"api/dm/actions?id=delete_tasks&project={project.id}"
            self._server.post(path, json={"selectedItems": {"all": False, "included": old}})
        return [task for task in listed if task.key in keys]

    # --- push ---

    def push(self, project: Project, manifest: Manifest, folder: Path, known: list[Task] | None = None) -> int:
        """Make sure that every query of the manifest is a task; returns how many were missing.

        ``folder`` is where the manifest's picture paths start; ``known`` are the project's tasks, if
        they have just been listed. Can be killed anywhere and run again: no task is shown twice, none is left
        out. What the same round asked before and does not ask now (a training run later, say, the regions on a
        picture may be others) is withdrawn, unless it has an answer; so is the second of two tasks that the server
        made of one. It is not changed, since somebody may be answering it at this moment: their answer stays with the
        question that they saw.
        """
        wanted = manifest.keys()
        added, failures = None, 0
        posted: set[str] = set()  # keys of the tasks, and
        mended: set[str] = set()  # of the regions, and
        turned: set[int] = set()  # the tasks withdrawn or shown again, that the server has just accepted
        while True:
            listed, known = self.tasks(project) if known is None else known, None
            asked = sorted((t for t in listed if t.key in wanted), key=lambda t: (not t.experts(), t.id))
            present = {task.key: task for task in reversed(asked)}
            missing = _absent(wanted, present)
            stale = [t for t in listed if t.round == manifest.round and t.key not in wanted and not t.experts()]
            # An import that SQLite's lock stopped half-way is done once more by Label Studio itself.
            stale += [t for t in asked if t is not present[t.key] and not t.experts()]
            turn = {t.id: t for t in stale if not t.withdrawn}
            turn |= {t.id: t for t in present.values() if t.withdrawn}
            # Label Studio creates an import's tasks first and their predictions afterwards; on a busy SQLite
            # the second can fail alone, and experts would see pictures without a box.
            bare = {k: task for k, task in present.items() if not task.predictions and not task.annotations}
            added = len(missing) if added is None else added
            if not missing and not bare and not turn:
                return added
            if lost := [*(posted & missing.keys()), *(mended & bare.keys()), *(turned & turn.keys())]:
                # Posting again what was accepted would be the way to duplicates.
                raise AnnotationError(
                    f"{self.url} accepted the tasks of {project.title!r}, but does not list "
                    f"{len(lost)} of them as it should; look at the project there, then run this again"
                )
            try:
                if missing:
                    self._post_missing(project, manifest, missing, folder)
                self._give_regions(manifest, bare)
                self._turn(project, turn.values())
                posted, mended, turned = set(missing), set(bare), set(turn)
            except Unreachable:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                time.sleep(pause_s(failures))

    def _give_regions(self, manifest: Manifest, bare: dict[str, Task]) -> None:
        """Give these tasks their regions (again)."""
        posts = {post["data"]["key"]: post for post in tasks(manifest, lambda q: q.image, lambda q: q.heat)}
        for key, task in bare.items():
            self._server.post("api/predictions/", json={"task": task.id, **posts[key]["predictions"][0]})

    def _turn(self, project: Project, some: Collection[Task]) -> None:
        """Withdraw the tasks that are shown to experts, and show them those that are withdrawn.

        A task that wants no answer is served to nobody; Label Studio would not work out by itself
        that it is done, so it is told.
        """
        wanted = 0
        if any(task.withdrawn for task in some):
            wanted = int(self._server.get(f"api/projects/{project.id}")["maximum_annotations"])
        for task in some:
            overlap = wanted if task.withdrawn else 0
            is_labeled = len(task.experts()) >= overlap
            self._server.patch(f"api/tasks/{task.id}/", json={"overlap": overlap, "is_labeled": is_labeled})

    def _post_missing(self, project: Project, manifest: Manifest, missing: dict[str, Query], folder: Path) -> None:
        """Upload the pictures that are not there yet, then create the tasks."""
        uploads = self._uploads(project)
        if missing.keys() & uploads.keys():
            # A push was cut off after its uploads; its tasks may be about to appear.
            settle()
            missing = _absent(missing, {task.key for task in self.tasks(project, missing)})
        shown = {name: query for key, query in missing.items() for name in (key, _heat_name(key, query))}
        new = [(name, query) for name, query in shown.items() if name not in uploads]
        for some in _batches(new, FILES):
            files = {name: _file(name, query, folder) for name, query in some}
            self._import(project, params={"commit_to_project": "false"}, files=files)
        if new:
            uploads = self._uploads(project)
        if lost := [name for name in shown if name not in uploads]:
            raise Unreachable(f"{self.url} lost {len(lost)} of the uploaded pictures; run this again")

        # Of the whole manifest, so that each is numbered among all of them.
        posts = tasks(
            manifest,
            lambda query: uploads.get(query.key(manifest.scenario), ""),
            lambda query: uploads.get(_heat_name(query.key(manifest.scenario), query), ""),
        )
        posts = [post for post in posts if post["data"]["key"] in missing]
        for batch in _batches(posts, TASKS):
            self._import(project, json=batch)

    def _import(self, project: Project, **content: Any) -> None:
        self._server.post(f"api/projects/{project.id}/import", **content)

    def _uploads(self, project: Project) -> dict[str, str]:
        """URLs of the pictures that this account uploaded to the project, by their query's key (and HEAT)."""
        rows = self._server.get(f"api/projects/{project.id}/file-uploads", all="true")
        # Label Studio keeps "<key>.png" as "upload/<project>/<8 random digits>-<key>.png".
        names = {row["file"]: row["file"].rsplit("/", 1)[-1].partition("-")[2] for row in rows}
        return {name.partition(".")[0]: f"{self._server.path}/data/{file}" for file, name in names.items()}

    # --- pull ---

    def pull(self, project: Project, keys: Iterable[str] | None = None) -> list[Answer]:
        """Every expert's every submitted annotation on these (or all) queries, skipped ones too, kept raw."""
        return self.answers(self.tasks(project, keys))

    def answers(self, some: Iterable[Task]) -> list[Answer]:
        """The submitted annotations on tasks that have been listed, as ``pull`` has them."""
        return [
            Answer(
                key=task.key,
                image_id=task.image_id,
                expert=self._email(annotation["completed_by"]),
                annotation_id=annotation["id"],
                created_at=annotation["created_at"],
                updated_at=annotation["updated_at"],
                lead_time=annotation["lead_time"],
                skipped=annotation["was_cancelled"],
                parent_prediction=annotation["parent_prediction"],
                result=annotation["result"],
            )
            for task in some
            for annotation in task.annotations
        ]

    def progress(
        self, project: Project, keys: Iterable[str], experts: int = 1, known: Iterable[Answer] = (), since: int = 0
    ) -> Progress:
        """How far these queries are answered, each by so many different ``experts``; skipping is no answer.

        ``known`` are answers that count although this server may have lost them; ``since`` as in ``tasks``.
        """
        asked = set(keys)
        given = [*known, *self.answers(self.tasks(project, asked, since))]
        me, users = self.check(), self._server.get("api/users")
        # Label Studio shows drafts to their owner only, but when each account last saved something to everyone.
        # Of ourselves we know that nobody is sitting there.
        seen = {user["email"]: moment(user["last_activity"]) for user in users if user["email"] != me}
        return Progress.of(asked, given, seen, self._server.now(), experts)

    def first(self, project: Project, keys: Iterable[str]) -> int:
        """The lowest id of these queries' tasks; 0 where there is none."""
        return min((task.id for task in self.tasks(project, keys)), default=0)

    def tasks(self, project: Project, keys: Iterable[str] | None = None, since: int = 0) -> list[Task]:
        """The tasks of these queries (or of all that were ever asked), by id; all of them, or AnnotationError.

        Those before the id ``since`` are not looked at: each costs the server milliseconds, and all rounds' are there.
        """
        wanted = None if keys is None else set(keys)
        shown = {"project": project.id, "fields": "all", "resolve_uri": "false"}
        if since:
            later = {"filter": "filter:tasks:id", "operator": "greater_or_equal", "type": "Number", "value": since}
            shown["query"] = json.dumps({"filters": {"conjunction": "and", "items": [later]}})
        rows = self._server.pages("api/tasks", rows="tasks", total="total", **shown)
        ours = [row for row in rows if "key" in row["data"]]
        return [Task.of(row) for row in ours if wanted is None or row["data"]["key"] in wanted]

    def _email(self, completed_by: int | dict[str, Any] | None) -> str:
        """Whose annotation it is; Label Studio says it by number, or with the whole account."""
        if isinstance(completed_by, dict):
            return str(completed_by["email"])
        if completed_by not in self._emails:
            self._emails = {user["id"]: user["email"] for user in self._server.get("api/users")}
        return self._emails.get(completed_by, f"deleted-account-{completed_by}")

    # --- answering ---

    def annotate(self, task: Task, expert: str, result: list[dict[str, Any]], lead_time: float) -> None:
        """Submit the answer of this account (its e-mail: ``expert``), as the labelling page does.

        ``lead_time`` in seconds. The server keeps ``unique_id`` unique: an expert's answer
        to a task cannot arrive twice, however often it is submitted.
        """
        body = {
            "result": result,
            "lead_time": lead_time,
            "parent_prediction": task.prediction()["id"],
            "unique_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{expert} {task.id} {task.key}")),
        }
        self._server.post(f"api/tasks/{task.id}/annotations/", is_there=409, json=body)


def _absent(wanted: dict[str, Query], present: Container[str]) -> dict[str, Query]:
    return {key: query for key, query in wanted.items() if key not in present}


def _heat_name(key: str, query: Query) -> str:
    """What a query's saliency is uploaded as; where it has no picture of that, its picture stands in."""
    return key + HEAT if query.heat else key


def _file(name: str, query: Query, folder: Path) -> tuple[str, bytes]:
    is_heat = name.endswith(HEAT)
    path, content = (query.heat, heat(query, folder)) if is_heat else (query.image, picture(query, folder))
    return name + Path(path).suffix, content


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
