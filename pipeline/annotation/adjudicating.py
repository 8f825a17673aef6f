"""Disputes go to one named account, in a project of their own, and its answer decides.

The experts' answers stay as they are: a decision is one more answer to the query. A decision holds even if the setting
`annotate.adjudicate` names another account later, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelstudio.client.backend import LabelStudio
from labelstudio.client.patience import Patience
from labelstudio.client.waiting import wait
from labelstudio.exchange import ledger
from labelstudio.exchange.records import Answer, Manifest
from labelstudio.reading.disputes import disputed
from labelstudio.server import local
from pipeline.annotation import projects
from pipeline.annotation.collecting import archive_of, recorded
from pipeline.config import Annotate

ANYBODY = 100  # so many answers complete a task: nobody else's answer takes a dispute from the account that decides it


def decide(
    client: LabelStudio, title: str, settings: Annotate, *, manifest: Manifest, folder: Path, answers: list[Answer]
) -> list[Answer]:
    """Have the disputes among a round's answers decided, and return all answers of the project of disputes.

    The wait is as long as for the experts' answers. With a quorum, a dispute may stay open at its end.

    Args:
        client: Label Studio.
        title: The title of the scenario's project.
        settings: The setting `adjudicate` has the e-mail address of the account that decides.
        manifest: The round's queries.
        folder: The folder of the round's pictures.
        answers: All known answers to the queries.
    """
    account = str(settings.adjudicate)
    number = client.account_of(account)
    project = projects.ensure(client, f"{title}, decide", settings, ANYBODY)
    archive = archive_of(title)
    todo = disputed(manifest.keys(), answers + _recorded(client.pull(project), archive, number))
    seen = tuple(replace(query, blind=False) for query in todo.values())
    client.push(project, replace(manifest, queries=seen), folder)
    if todo:
        patience = Patience.of(local.settings())
        print(f"experts disagree on {len(todo)} of {len(manifest.queries)} queries: {account} decides at {project.url}")
        enough = len(todo) if patience.quorum is None else 0
        wait(
            client,
            project,
            todo,
            limit_s=patience.limit_s,
            enough=enough,
            account=number,
            keep=lambda some: _recorded(some, archive, number),
        )
    return _recorded(client.pull(project), archive, number)


def _recorded(pulled: Sequence[Answer], archive: Path, account: int) -> list[Answer]:
    """Return answers of the project of disputes: decisions if they are this account's, or were decisions before."""
    before = ledger.recall(archive, {answer.key for answer in pulled})
    decisions = {answer.identity() for answer in before if answer.decides}
    marked = [replace(a, decides=a.account == account or a.identity() in decisions) for a in pulled]
    return recorded(archive, marked)
