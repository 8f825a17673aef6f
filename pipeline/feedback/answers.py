"""The experts' answers become the masks W (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from labelstudio.exchange import geometry
from labelstudio.exchange.records import Answer, Manifest
from labelstudio.reading import consensus
from labelstudio.reading.marks import disregarded
from labelstudio.reading.verdicts import Verdict, contradictions, removed, verdict
from pipeline.config import Consensus
from pipeline.data.prepared import Prepared
from pipeline.feedback.masks import Entry, Kind


def to_entries(manifest: Manifest, answers: list[Answer], settings: Consensus) -> list[Entry]:
    """Return the experts' consensus on each query with an answer, and print each unused part of an answer.

    Where experts say where the evidence is, every pixel counts as shown. A query that no expert could judge gives an
    entry with an empty mask: its regions are not shown again, and nothing is learned from it.
    """
    for remark in _remarks(manifest, answers):
        print(remark)
    queries = manifest.keys()
    weights = consensus.weights(queries, answers, rule=settings.rule, soft=settings.soft)
    evident = consensus.with_evidence(queries, answers, rule=settings.rule)
    answered = {answer.key for answer in answers if not answer.skipped}
    entries = []
    for key, query in queries.items():
        if key in answered:
            mask = weights.get(key, np.zeros((query.height, query.width), np.float32))
            asked = (geometry.owners(query) >= 0) | (key in evident)
            kind: Kind = "evidence" if key in evident else "judged" if key in weights else "unclear"
            entries.append(Entry.of(manifest.round, query.image_id, mask, asked, kind=kind, finding=query.finding))
    return entries


def known_answers(
    manifest: Manifest, data: Prepared, *, count: int, evidence_share: float
) -> dict[str, NDArray[np.bool_]]:
    """Return the correct marks of up to ``count`` queries whose evidence is known, to judge experts by.

    Experts see no difference between these queries and all others.

    Args:
        manifest: A round's queries.
        data: The prepared data set with its evidence masks.
        count: The number of queries to use; the first ones by key are taken.
        evidence_share: A proposal with a smaller share of evidence must be marked.

    Returns:
        By a query's key: which of its proposals (P,) must be marked.
    """
    known = set(data.index.loc[data.index["evidence"].notna(), "id"])
    queries = manifest.keys()
    chosen = sorted(key for key, query in queries.items() if query.image_id in known)[:count]
    correct = {}
    for key in chosen:
        query = queries[key]
        evidence = data.evidence(query.image_id)
        areas = [geometry.pixels(proposal, query.width, query.height) for proposal in query.proposals]
        correct[key] = np.array([geometry.is_irrelevant(area, evidence, evidence_share) for area in areas], bool)
    return correct


def _remarks(manifest: Manifest, answers: list[Answer]) -> Iterator[str]:
    """Yield a line for each part of an answer that gives no marks, and for each contradiction."""
    queries = manifest.keys()
    for answer in answers:
        if answer.key not in queries or answer.skipped:
            continue
        query = queries[answer.key]
        start = f"{answer.expert} on {query.image_id}: "
        yield from (start + said for said in contradictions(answer, query))
        if verdict(answer, query) in (Verdict.MARKED, Verdict.REMOVED) and (count := removed(answer, query)):
            yield f"{start}{count} of {len(query.proposals)} outlines removed: no marks"
        for unused in disregarded(answer.result, query.width, query.height)[1]:
            yield f"{start}not used: {unused}"
