"""The simulated experts: who answers which query, and how their answers reach Label Studio."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert, assigned
from labelstudio.client.projects import Project
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import AnnotationError, Answer, Manifest
from pipeline.config import Annotate

Evidence = Callable[[str], Mask | None]  # image id → (S, S), True where the evidence is; None where nobody knows


def blinded(manifest: Manifest, count: int) -> Manifest:
    """Return the round with ``count`` queries without outlines; a larger count adds queries, and changes no other."""
    order = sorted(manifest.keys(), key=lambda key: hashlib.sha256(f"blind {key}".encode()).hexdigest())
    blind = set(order[:count])
    queries = (replace(query, blind=key in blind) for key, query in manifest.keys().items())
    return replace(manifest, queries=tuple(queries))


def members(
    manifest: Manifest, settings: Annotate, evidence: Evidence, clients: Sequence[LabelStudio | None]
) -> list[tuple[SimulatedExpert, list[str]]]:
    """Return the simulated experts, each with the keys of the queries that this expert answers.

    Args:
        manifest: A round's queries.
        settings: The crowd, and how many experts answer a query.
        evidence: Where the evidence of an image is.
        clients: Each expert's own connection; None where there is no server.
    """
    crowd, keys = [], list(manifest.keys())
    for number, (client, traits) in enumerate(zip(clients, settings.crowd, strict=True)):
        expert = SimulatedExpert(
            client,
            evidence,
            marks=traits.marks,
            threshold=settings.evidence_share,
            miss_rate=traits.miss_rate,
            false_alarm_rate=traits.false_alarm_rate,
            speed_s=traits.speed_s,
            number=number,
        )
        crowd.append((expert, [key for key in keys if number in _assigned(key, settings)]))
    return crowd


def answers(manifest: Manifest, settings: Annotate, evidence: Evidence) -> list[Answer]:
    """Return the answers of all simulated experts to a round, without a server."""
    asked = blinded(manifest, settings.blind)
    crowd = members(asked, settings, evidence, [None] * len(settings.crowd))
    return [answer for expert, keys in crowd for answer in expert.answers(asked, keys)]


def submit(
    clients: Sequence[LabelStudio], project: Project, manifest: Manifest, *, settings: Annotate, evidence: Evidence
) -> None:
    """Let each simulated expert answer its queries at Label Studio, under an account of its own.

    Args:
        clients: Each expert's own connection.
        project: The scenario's project.
        manifest: The queries to answer.
        settings: The crowd, and how many experts answer a query.
        evidence: Where the evidence of an image is.

    Raises:
        AnnotationError: Two keys belong to one account, or Label Studio does not accept an answer.
    """
    emails = [client.check() for client in clients]
    if len(set(emails)) < len(emails):
        raise AnnotationError(
            f"two keys of `LABEL_STUDIO_EXPERT_API_KEY` belong to one account: {', '.join(emails)}. "
            "Fix: give each simulated expert the key of an account of its own"
        )
    for expert, keys in members(manifest, settings, evidence, clients):
        expert.answer(project, keys)


def wanted(key: str, settings: Annotate) -> int:
    """Return how many experts must answer a query; absent simulated experts are not waited for."""
    return max(len(_assigned(key, settings)), 1) if settings.expert == "simulated" else settings.experts_per_query


def keys_of(url: str, joined: str | None, count: int) -> list[str]:
    """Return one API key for each of ``count`` simulated experts, from keys joined by commas or blanks.

    Raises AnnotationError if there are too few.
    """
    keys = (joined or "").replace(",", " ").split()
    if len(keys) < count:
        raise AnnotationError(
            f"{count} simulated experts need {count} accounts at {url}, and `LABEL_STUDIO_EXPERT_API_KEY` has "
            f"{len(keys)} keys. Fix: set it to the API keys of {count} accounts, separated by commas, or set "
            "`annotate.expert: human` in params.yaml"
        )
    return keys[:count]


def _assigned(key: str, settings: Annotate) -> list[int]:
    return assigned(key, [traits.absent for traits in settings.crowd], settings.experts_per_query)
