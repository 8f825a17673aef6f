"""Connect a round to Label Studio, and get its queries answered by simulated experts or by people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelstudio.client.backend import LabelStudio
from labelstudio.client.patience import Patience
from labelstudio.client.projects import Project
from labelstudio.client.waiting import wait
from labelstudio.client.webhook import WEBHOOK, Webhook
from labelstudio.exchange.records import Answer, Manifest
from labelstudio.server import checkout, local
from pipeline.annotation import collecting, crowd, notices
from pipeline.config import Annotate
from pipeline.data.prepared import Prepared

EVENTS = Path(".dvc/tmp/told")  # in the checkout: the round's events that the webhook has received


@dataclass(frozen=True)
class Connection:
    """Label Studio as its administrator sees it, and the simulated experts' own API keys."""

    client: LabelStudio
    expert_keys: list[str]


def connect(settings: Annotate) -> Connection:
    """Return a checked connection to the Label Studio of the environment, or to a local one."""
    simulated = settings.expert == "simulated"
    if not simulated:
        checkout.require()
    url, api_key, joined = local.connect(experts=len(settings.crowd) if simulated else 1)
    client = LabelStudio(url, api_key)
    client.check()
    if settings.adjudicate:
        client.account_of(settings.adjudicate)  # before anybody answers, so that a wrong address costs nothing
    return Connection(client, crowd.keys_of(url, joined, len(settings.crowd)) if simulated else [])


def simulate(
    connection: Connection, project: Project, open_queries: Manifest, *, settings: Annotate, data: Prepared
) -> None:
    """Let the simulated experts answer these queries.

    Args:
        connection: Label Studio, and the experts' keys.
        project: The scenario's project.
        open_queries: The queries that need answers.
        settings: The crowd.
        data: The prepared data set with its evidence.
    """
    clients = [LabelStudio(connection.client.url, key) for key in connection.expert_keys]
    crowd.submit(clients, project, open_queries, settings=settings, evidence=data.known_evidence)


def wait_for_people(
    connection: Connection,
    project: Project,
    manifest: Manifest,
    *,
    known: list[Answer],
    archive: Path,
    settings: Annotate,
    patience: Patience,
) -> None:
    """Wait until people have answered enough of a round, and tell them what comes then.

    The archive has their answers even if the wait is interrupted, so that a checkout that moves to another server asks
    nobody again.

    Args:
        connection: Label Studio.
        project: The scenario's project.
        manifest: The queries of the round.
        known: Answers that the archive has.
        archive: The ledger of the project.
        settings: How many experts answer a query.
        patience: How long to wait, and how many answered queries are enough.
    """
    webhook = Webhook(
        url=local.settings().get(WEBHOOK),
        told=checkout.home() / EVENTS,
        project=project,
        round=manifest.round,
        keys=manifest.keys(),
    )
    wait(
        connection.client,
        project,
        manifest.keys(),
        limit_s=patience.limit_s,
        enough=patience.enough(len(manifest.queries)),
        tell=webhook.tell,
        experts=settings.experts_per_query,
        known=[answer for answer in known if not answer.decides],
        keep=lambda answers: collecting.recorded(archive, answers),
    )
    notices.closes(connection.client, project, manifest.round)
