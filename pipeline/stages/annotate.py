"""annotate: put a round's queries before the experts, wait, and bring every answer home.

What is missing in Label Studio is pushed here, not by query-export: a stage that DVC skips has
no side effects. Whatever happens on the way, running it again goes on from where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from labelstudio import ledger, server
from labelstudio.client import LabelStudio
from labelstudio.experts import SimulatedExpert
from labelstudio.patience import Patience
from labelstudio.projects import Project
from labelstudio.records import AnnotationError, Answer, Manifest, write_answers
from labelstudio.waiting import wait
from labelstudio.webhook import WEBHOOK, Webhook
from pipeline.config import Annotate, Config, load
from pipeline.datasets import prepared
from pipeline.datasets.prepared import Prepared
from pipeline.paths import prepared_dir, step_dir
from pipeline.stages import run

LEDGERS = Path("answers")  # not an output: DVC deletes a stage's outputs before it runs it again
TOLD = Path(".dvc/tmp/told")  # which of a round's events the webhook has heard of


def main(scenario: str, round: str) -> None:
    """Write answers.json: every expert's answers to this round's queries, as submitted."""
    settings = server.settings()
    patience = Patience.of(settings)  # first of all: a bad value is not to be found out after the push
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
    wait(
        client,
        project,
        unanswered.keys(),
        limit_s=patience.limit_s,
        enough=patience.enough(len(open_queries), before=len(manifest.queries) - len(open_queries)),
        tell=Webhook(settings.get(WEBHOOK), TOLD, project, round, manifest.keys()).tell,
    )

    pulled = client.pull(project, manifest.keys())
    ledger.record(archive, pulled)
    answers = merge(known, pulled)
    write_answers(folder / "answers.json", answers)
    print(f"{scenario}, round {round}: {len(answers)} answers to {len(manifest.queries)} queries from {project.url}")


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


if __name__ == "__main__":
    run(main, "scenario", "round")
