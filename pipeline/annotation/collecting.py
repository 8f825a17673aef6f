"""The answers of a round: from the archive, from the server, and answers that came too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelstudio.exchange import authors, ledger
from labelstudio.exchange.records import Answer, Manifest, read_answers
from labelstudio.reading.verdicts import verdict
from labelstudio.server import checkout
from pipeline.annotation import crowd
from pipeline.config import Annotate
from pipeline.paths import step_dir

ARCHIVES = Path("answers")  # not an output: DVC deletes a stage's outputs before the stage runs again


def archive_of(title: str) -> Path:
    """Return the ledger of a project, in the checkout: every answer that was ever pulled from it."""
    return checkout.home() / ARCHIVES / f"{title.replace(', ', '_').replace(' ', '-')}.jsonl"


def unanswered(manifest: Manifest, known: list[Answer], settings: Annotate) -> Manifest:
    """Return the queries that need more answers than those already known, and print how many need none."""
    open_queries = [
        query for key, query in manifest.keys().items() if len(experts_on(key, known)) < crowd.wanted(key, settings)
    ]
    if known:
        answered = len(manifest.queries) - len(open_queries)
        print(f"{answered} of {len(manifest.queries)} queries were answered before")
    return replace(manifest, queries=tuple(open_queries))


def experts_on(key: str, answers: list[Answer]) -> set[str]:
    """Return the experts with an answer to a query; a decision on a dispute is no such answer."""
    return {answer.expert for answer in answers if answer.key == key and not answer.skipped and not answer.decides}


def recorded(archive: Path, pulled: Sequence[Answer]) -> list[Answer]:
    """Return a server's answers under the names first seen, once the ledger has them."""
    answers = ledger.named(archive, pulled)
    ledger.record(archive, answers)
    return answers


def merge(known: list[Answer], pulled: list[Answer]) -> list[Answer]:
    """Return each answer once: the server's version, or the archive's where the server has lost it."""
    before = {answer.identity(): answer for answer in known}
    for answer in pulled:
        old = before.get(answer.identity())
        if old is not None and old.result != answer.result:
            print(f"{answer.expert} has changed the answer on {answer.image_id}; the new answer counts")
    return authors.merged(known, pulled)


def late_answers(scenario: str, rounds: list[str], answers: list[Answer]) -> list[str]:
    """Return a line for each of these rounds whose answers changed after its answers.json was written.

    Training used the old answers and keeps them until somebody decides otherwise. A line names the experts and images,
    and the command that uses the new answers.
    """
    lines = []
    for number, round in enumerate(rounds):
        folder = step_dir(scenario, round)
        used = {answer.identity(): answer for answer in read_answers(folder / "answers.json")}
        keys = Manifest.read(folder / "queries.json").keys()
        news = []
        for answer in answers:
            old = used.get(answer.identity())
            if answer.key in keys and (old is None or (old.result, old.skipped) != (answer.result, answer.skipped)):
                query = keys[answer.key]
                was = verdict(old, query).value if old else "no answer"
                news.append(f"{answer.expert} on {answer.image_id} ({was}, now {verdict(answer, query).value})")
        if news:
            lines.append(
                f"round {round}: answers came or changed after training had used this round: {', '.join(news)}. To use "
                f"them, run `dvc repro --force --single-item annotate@{scenario}-round{number}`, then `dvc repro`"
            )
    return lines
