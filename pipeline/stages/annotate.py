"""annotate: put a round's queries before the experts, wait, and bring every answer home.

What is missing in Label Studio is pushed here, not by query-export: a stage that DVC skips has
no side effects. Whatever happens on the way, running it again goes on from where it was.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from labelstudio import ledger, server
from labelstudio.client import LabelStudio
from labelstudio.experts import SimulatedExpert
from labelstudio.projects import Project
from labelstudio.records import AnnotationError, Answer, Manifest, read_answers, write_answers
from labelstudio.verdicts import summary, verdict
from labelstudio.waiting import wait
from pipeline.config import Annotate, Config, load
from pipeline.datasets import prepared
from pipeline.datasets.prepared import Prepared
from pipeline.paths import prepared_dir, step_dir
from pipeline.stages import run

LEDGERS = Path("answers")  # not an output: DVC deletes a stage's outputs before it runs it again
WAIT = "ANNOTATE_WAIT_S"  # not a param: a param would make DVC forget the answers


def main(scenario: str, round: str) -> None:
    """Write answers.json: every expert's answers to this round's queries, as submitted."""
    config = load()
    folder = step_dir(scenario, round)
    manifest = Manifest.read(folder / "queries.json")
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    title = project_title(scenario, config, data.digest)
    archive = LEDGERS / f"{title.replace(', ', '_').replace(' ', '-')}.jsonl"

    known = ledger.recall(archive, manifest.keys())
    url, api_key, expert_key = server.connect()
    client = LabelStudio(url, api_key)
    client.check()
    project = client.ensure_project(title)
    open_queries = [q for key, q in manifest.keys().items() if not any(a.key == key and not a.skipped for a in known)]
    unanswered = replace(manifest, queries=tuple(open_queries))
    if known:
        print(
            f"{len(manifest.queries) - len(open_queries)} of {len(manifest.queries)} queries have been answered before"
        )
    client.push(project, unanswered, folder)
    if config.annotate.expert == "simulated":
        simulate(LabelStudio(url, _expert_key(url, expert_key)), project, unanswered, config.annotate, data)
    wait(client, project, unanswered.keys(), limit_s=_limit())

    everything = client.pull(project)  # of all rounds, and of questions that are not asked any more
    ledger.record(archive, everything)
    asked = manifest.keys()
    pulled = [answer for answer in everything if answer.key in asked]
    answers = merge(known, pulled)
    write_answers(folder / "answers.json", answers)
    print(f"{scenario}, round {round}: {summary(answers)}; {len(manifest.queries)} queries at {project.url}")
    rounds = [entry.n for entry in config.hitl.rounds]
    for line in overtaken(scenario, rounds[: rounds.index(round)], everything):
        print(f"{line}; both are kept in {archive}")


def project_title(scenario: str, config: Config, data: str) -> str:
    """One project for each scenario, seed and expert; ``data`` is the prepared data set's digest.

    A person never meets a machine's answers, nor a simulated expert those of one who knew or erred
    otherwise.
    """
    title = f"{scenario}, seed {config.seed}"
    if config.annotate.expert == "human":
        return title
    told_apart = hashlib.sha256(f"{config.annotate.model_dump_json()} {data}".encode()).hexdigest()[:4]
    return f"{title}, simulated {told_apart}"


def merge(known: list[Answer], pulled: list[Answer]) -> list[Answer]:
    """The server's word on each query that it has answers to, and the archive's on the others."""
    there = {answer.key for answer in pulled}
    before = {(a.key, a.expert, a.annotation_id): a for a in known}
    for answer in pulled:
        old = before.get((answer.key, answer.expert, answer.annotation_id))
        if old is not None and old.result != answer.result:
            print(f"{answer.expert} has changed the answer on {answer.image_id}; the new one counts")
    return pulled + [answer for answer in known if answer.key not in there]


def overtaken(scenario: str, rounds: list[str], answers: list[Answer]) -> list[str]:
    """What experts changed or added to these rounds' queries since their answers.json was written.

    Training has used the old answers, and goes on doing so until somebody decides otherwise: a line for
    each such round says who, on what, and how the new ones take effect.
    """
    lines = []
    for number, round in enumerate(rounds):
        folder = step_dir(scenario, round)
        used = {(a.key, a.expert, a.annotation_id): a for a in read_answers(folder / "answers.json")}
        keys = Manifest.read(folder / "queries.json").keys()
        news = []
        for answer in answers:
            old = used.get((answer.key, answer.expert, answer.annotation_id))
            if answer.key in keys and (old is None or (old.result, old.skipped) != (answer.result, answer.skipped)):
                was = verdict(old).value if old else "not there"
                news.append(f"{answer.expert} on {answer.image_id} ({was}, now {verdict(answer).value})")
        if news:
            lines.append(
                f"round {round}: answers came or were changed after they were used: {', '.join(news)}; to use them, "
                f"run `dvc repro --force --single-item annotate@{scenario}-round{number}`, then `dvc repro`"
            )
    return lines


def simulate(client: LabelStudio, project: Project, manifest: Manifest, settings: Annotate, data: Prepared) -> None:
    """Let the simulated expert answer, through the same interface and as a user of its own."""
    expert = SimulatedExpert(
        client, data.evidence, settings.evidence_share, settings.miss_rate, settings.false_alarm_rate
    )
    expert.answer(project, manifest.keys())


def _expert_key(url: str, expert_key: str | None) -> str:
    if expert_key is None:
        raise AnnotationError(
            f"the simulated expert needs an account of its own at {url}: set LABEL_STUDIO_EXPERT_API_KEY to that "
            "account's API key, or `annotate.expert: human` in params.yaml"
        )
    return expert_key


def _limit() -> float | None:
    text = os.environ.get(WAIT)
    try:
        return None if not text else float(text)
    except ValueError:
        raise AnnotationError(f"{WAIT} must be a number of seconds, not {text!r}") from None


if __name__ == "__main__":
    run(main, "scenario", "round")
