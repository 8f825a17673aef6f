"""One Label Studio as one account sees it: push queries, follow progress, pull answers, submit an answer."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelstudio.client import listing, projects
from labelstudio.client.connection import Connection, Refused
from labelstudio.client.progress import Progress
from labelstudio.client.projects import INTERFACE, Known, Project
from labelstudio.client.push import push
from labelstudio.exchange import authors
from labelstudio.exchange.records import NOBODY, AnnotationError, Answer, Manifest, moment, nobody
from labelstudio.exchange.tasks import Task, author_of


class LabelStudio:
    """One Label Studio, as one account sees it. No message contains the API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._server = Connection(url, api_key)
        self._emails: dict[int, str] = {}

    @property
    def url(self) -> str:
        """The server's URL, without a slash at the end."""
        return self._server.url

    def check(self) -> str:
        """Return the account's e-mail address; raise AnnotationError if the server or the API key is wrong."""
        return str(self._server.call(lambda sdk: sdk.users.whoami())["email"])

    def account(self) -> int:
        """Return the account's number, which stays when its e-mail address changes."""
        return int(self._server.call(lambda sdk: sdk.users.whoami())["id"])

    def account_of(self, email: str) -> int:
        """Return the number of the account with this e-mail address; raise AnnotationError if there is none."""
        users = self._server.call(lambda sdk: sdk.users.list())
        for user in users:
            if user["email"].lower() == email.lower():
                return int(user["id"])
        raise AnnotationError(f"{self.url} has no account {email!r}. Fix: create the account, or correct its address.")

    # --- project ---

    def ensure_project(
        self,
        title: str,
        experts: int = 1,
        interface: str = INTERFACE,
        known: Known | None = None,
        reasons: Sequence[str] = (),
    ) -> Project:
        """Return our project with this title, under any name; create it if there is none (see ``projects.ensure``)."""
        return projects.ensure(self._server, title, experts=experts, interface=interface, known=known, reasons=reasons)

    def describe(self, project: Project, text: str) -> None:
        """Set the description that everybody reads on the project's card."""
        self._server.call(lambda sdk: sdk.projects.update(project.id, description=text))

    def announce(self, project: Project, notice: str) -> None:
        """Put a notice before the instructions with which the project's page opens (see ``projects.announce``)."""
        projects.announce(self._server, project, notice)

    def keep_only(self, project: Project, keys: Collection[str]) -> list[Task]:
        """Delete the tasks of all other queries, and return the tasks of these; for a project that asks nothing.

        In such a project a submitted page is no answer, so nothing is lost.
        """
        listed = self.tasks(project)
        old = [task.id for task in listed if task.key not in keys]
        if old:
            selected: Any = {"all": False, "included": old}
            self._server.call(
                lambda sdk: sdk.actions.create(id="delete_tasks", project=project.id, selected_items=selected)
            )
        return [task for task in listed if task.key in keys]

    def push(self, project: Project, manifest: Manifest, folder: Path, *, known: list[Task] | None = None) -> int:
        """Give every query of the manifest one task, and return the number of missing tasks (see ``push.push``)."""
        return push(self._server, project, manifest=manifest, folder=folder, known=known)

    # --- answers ---

    def tasks(self, project: Project, keys: Iterable[str] | None = None, first_id: int = 0) -> list[Task]:
        """Return the tasks of these (or all) queries by their ids: all of them, or AnnotationError.

        Tasks with an id below ``first_id`` are not listed.
        """
        return listing.tasks(self._server, project, keys=keys, first_id=first_id)

    def first_task_id(self, project: Project, keys: Iterable[str]) -> int:
        """Return the lowest id of these queries' tasks; 0 if there is none."""
        return min((task.id for task in self.tasks(project, keys)), default=0)

    def pull(self, project: Project, keys: Iterable[str] | None = None) -> list[Answer]:
        """Return all submitted answers of all experts to these (or all) queries, also skips, as the server has them."""
        return self.answers(self.tasks(project, keys))

    def answers(self, listed: Iterable[Task]) -> list[Answer]:
        """Return the submitted answers on tasks that have been listed."""
        return [
            Answer(
                key=task.key,
                image_id=task.image_id,
                expert=self._name(annotation),
                annotation_id=annotation["id"],
                created_at=annotation["created_at"],
                updated_at=annotation["updated_at"],
                lead_time=annotation["lead_time"],
                skipped=annotation["was_cancelled"],
                parent_prediction=annotation["parent_prediction"],
                result=annotation["result"],
                account=author_of(annotation),
                blind=task.blind,
            )
            for task in listed
            for annotation in task.annotations
        ]

    def progress(
        self,
        project: Project,
        keys: Iterable[str],
        *,
        experts: int = 1,
        known: Iterable[Answer] = (),
        first_id: int = 0,
        account: int | None = None,
    ) -> Progress:
        """Return how many of these queries are answered, and by whom; a skip is no answer.

        Args:
            project: The project that has the tasks.
            keys: The queries to count.
            experts: The number of different experts who must answer a query.
            known: Recorded answers, which count although this server may have lost them.
            first_id: Tasks with a lower id are not listed.
            account: The number of the only account whose new answers count; None for all accounts.
        """
        asked = set(keys)
        recorded = list(known)
        there = self.answers(self.tasks(project, asked, first_id))
        pulled = authors.named([one for one in there if account in (None, one.account)], recorded)
        answers = authors.merged(recorded, pulled)
        names = {answer.account: answer.expert for answer in pulled}
        me, users = self.check(), self._server.call(lambda sdk: sdk.users.list())
        # Label Studio shows a draft to its author only, but the time of each account's last change to everyone.
        # Our own account belongs to this program, not to a person at the page.
        seen = {
            names.get(user["id"], user["email"]): moment(user["last_activity"]) for user in users if user["email"] != me
        }
        found = Progress.of(asked, answers, seen=seen, now=self._server.now(), experts=experts)
        return replace(found, answers=tuple(there))

    def annotate(self, task: Task, *, expert: str, result: list[dict[str, Any]], lead_time: float) -> None:
        """Submit this account's answer, as the labelling page does.

        The server keeps ``unique_id`` unique: an expert's answer to a task arrives once, however often it is submitted.

        Args:
            task: The task to answer.
            expert: A name that only this account has.
            result: Label Studio's own list of regions.
            lead_time: The time that the answer took, in seconds.
        """
        prediction = task.prediction()["id"]
        unique_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{expert} {task.id} {task.key}"))
        try:
            self._server.call(
                lambda sdk: sdk.annotations.create(
                    task.id, result=result, lead_time=lead_time, parent_prediction=prediction, unique_id=unique_id
                )
            )
        except Refused as error:
            if error.status != 409:  # the server has this answer
                raise

    def _name(self, annotation: dict[str, Any]) -> str:
        """Return the name of an annotation's author as the server knows it now."""
        author, account = author_of(annotation), annotation["completed_by"]
        if isinstance(account, dict):
            return str(account["email"])
        if author is None:
            return nobody(annotation["id"])
        if author not in self._emails:
            self._emails = {user["id"]: user["email"] for user in self._server.call(lambda sdk: sdk.users.list())}
        return self._emails.get(author, f"{NOBODY}-{author}")
