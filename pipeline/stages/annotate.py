"""annotate: put a round's queries before the experts, wait, and bring every answer home.

What is missing in Label Studio is pushed here, not by query-export: a stage that DVC skips has
no side effects. Whatever happens on the way, running it again goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert, assigned
from labelstudio.client.patience import Patience
from labelstudio.client.projects import Project
from labelstudio.client.waiting import wait
from labelstudio.client.webhook import WEBHOOK, Webhook
from labelstudio.exchange import ledger
from labelstudio.exchange.records import AnnotationError, Answer, Manifest, read_answers, write_answers
from labelstudio.exchange.regions import Mask
from labelstudio.reading.verdicts import summary, verdict
from labelstudio.server import local
from pipeline.annotation.projects import project_title, show_effects
from pipeline.config import Annotate, load
from pipeline.data import prepared
from pipeline.data.prepared import Prepared
from pipeline.paths import prepared_dir, step_dir

LEDGERS = Path("answers")  # not an output: DVC deletes a stage's outputs before it runs it again
TOLD = Path(".dvc/tmp/told")  # which of a round's events the webhook has heard of


def main(scenario: str, round: str) -> None:
    """Write answers.json: every expert's answers to this round's queries, as submitted."""
    environment = local.settings()
    patience = Patience.of(environment)  # first of all: a bad value is not to be found out after the push
    config = load()
    settings = config.annotate
    folder = step_dir(scenario, round)
    manifest = Manifest.read(folder / "queries.json")
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    title = project_title(scenario, config, data.digest)
    archive = LEDGERS / f"{title.replace(', ', '_').replace(' ', '-')}.jsonl"

    known = ledger.recall(archive, manifest.keys())
    url, api_key, expert_keys = local.connect(experts=len(settings.crowd) if settings.expert == "simulated" else 1)
    client = LabelStudio(url, api_key)
    client.check()
    project = client.ensure_project(title, settings.experts_per_query)
    if settings.expert == "human":  # a simulated one reads no page, and whoever looks at it later finds it complete
        show_effects(client, project, scenario, config)  # no answer depends on it
    open_queries = [q for key, q in manifest.keys().items() if len(experts_on(key, known)) < wanted(key, settings)]
    unanswered = replace(manifest, queries=tuple(open_queries))
    if known:
        print(
            f"{len(manifest.queries) - len(open_queries)} of {len(manifest.queries)} queries have been answered before"
        )
    client.push(project, unanswered, folder)
    if settings.expert == "simulated":  # who never comes is not waited for
        simulate(url, _expert_keys(url, expert_keys, len(settings.crowd)), project, unanswered, settings, data)
    else:
        wait(
            client,
            project,
            unanswered.keys(),
            limit_s=patience.limit_s,
            enough=patience.enough(len(open_queries), before=len(manifest.queries) - len(open_queries)),
            tell=Webhook(environment.get(WEBHOOK), TOLD, project, round, manifest.keys()).tell,
            experts=settings.experts_per_query,
            known=known,
        )

    everything = client.pull(project)  # of all rounds, and of questions that are not asked any more
    ledger.record(archive, everything)
    asked = manifest.keys()
    pulled = [answer for answer in everything if answer.key in asked]
    answers = merge(known, pulled)
    write_answers(folder / "answers.json", answers)
    print(f"{scenario}, round {round}: {summary(answers, asked)}; {len(manifest.queries)} queries at {project.url}")
    rounds = [entry.n for entry in config.hitl.rounds]
    for line in overtaken(scenario, rounds[: rounds.index(round)], everything):
        print(f"{line}; both are kept in {archive}")


def merge(known: list[Answer], pulled: list[Answer]) -> list[Answer]:
    """The server's word on each expert's reading of a query, and the archive's where the server has none."""
    there = {(answer.key, answer.expert) for answer in pulled}
    before = {(a.key, a.expert, a.annotation_id): a for a in known}
    for answer in pulled:
        old = before.get((answer.key, answer.expert, answer.annotation_id))
        if old is not None and old.result != answer.result:
            print(f"{answer.expert} has changed the answer on {answer.image_id}; the new one counts")
    return pulled + [answer for answer in known if (answer.key, answer.expert) not in there]


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
                query = keys[answer.key]
                was = verdict(old, query).value if old else "not there"
                news.append(f"{answer.expert} on {answer.image_id} ({was}, now {verdict(answer, query).value})")
        if news:
            lines.append(
                f"round {round}: answers came or were changed after they were used: {', '.join(news)}; to use them, "
                f"run `dvc repro --force --single-item annotate@{scenario}-round{number}`, then `dvc repro`"
            )
    return lines


def experts_on(key: str, answers: list[Answer]) -> set[str]:
    """Who has answered a query."""
    return {answer.expert for answer in answers if answer.key == key and not answer.skipped}


def wanted(key: str, settings: Annotate) -> int:
    """How many experts' answers a query is to have: of simulated ones, no more than are there."""
    return max(len(_assigned(key, settings)), 1) if settings.expert == "simulated" else settings.experts_per_query


def simulate(
    url: str, api_keys: list[str], project: Project, manifest: Manifest, settings: Annotate, data: Prepared
) -> None:
    """Let each simulated expert answer its queries, through the same interface and as a user of its own."""
    clients = [LabelStudio(url, api_key) for api_key in api_keys]
    emails = [client.check() for client in clients]
    if len(set(emails)) < len(emails):
        raise AnnotationError(f"two of LABEL_STUDIO_EXPERT_API_KEY's keys are one account's: {', '.join(emails)}")
    for expert, keys in crowd(manifest, settings, data.evidence, clients):
        expert.answer(project, keys)


def crowd(
    manifest: Manifest, settings: Annotate, evidence: Callable[[str], Mask], clients: Sequence[LabelStudio | None]
) -> list[tuple[SimulatedExpert, list[str]]]:
    """The simulated experts, each with the keys of the queries that it answers."""
    found, keys = [], list(manifest.keys())
    for number, (client, traits) in enumerate(zip(clients, settings.crowd, strict=True)):
        errs = traits.miss_rate, traits.false_alarm_rate
        expert = SimulatedExpert(client, evidence, settings.evidence_share, *errs, traits.speed_s, number)
        found.append((expert, [key for key in keys if number in _assigned(key, settings)]))
    return found


def _assigned(key: str, settings: Annotate) -> list[int]:
    return assigned(key, [traits.absent for traits in settings.crowd], settings.experts_per_query)


def _expert_keys(url: str, joined: str | None, count: int) -> list[str]:
    keys = [key.strip() for key in (joined or "").split(",") if key.strip()]
    if len(keys) < count:
        raise AnnotationError(
            f"each simulated expert needs an account of its own at {url}: set LABEL_STUDIO_EXPERT_API_KEY to the "
            f"API keys of {count} accounts, separated by commas (it has {len(keys)}), or `annotate.expert: human` "
            "in params.yaml"
        )
    return keys[:count]
