"""annotate: put a round's queries before the experts, wait, and collect every answer.

Missing queries are pushed here and not by query-export: DVC may skip a stage, and then the stage has no side effects.
A run after any interruption resumes where the last run stopped.
"""

from __future__ import annotations

from labelstudio.client.patience import Patience
from labelstudio.exchange import ledger
from labelstudio.exchange.records import Manifest, write_answers
from labelstudio.reading.verdicts import summary
from labelstudio.server import local
from pipeline.annotation import asking, collecting, crowd, notices, projects
from pipeline.annotation.adjudicating import decide
from pipeline.annotation.projects import project_title
from pipeline.config import load
from pipeline.data import prepared
from pipeline.paths import prepared_dir, step_dir


def main(scenario: str, round: str) -> None:
    """Write answers.json: every expert's answers to this round's queries, as submitted."""
    patience = Patience.of(local.settings())  # before the push, so that a wrong value costs nothing
    config, folder = load(), step_dir(scenario, round)
    settings = config.annotate
    manifest = crowd.blinded(Manifest.read(folder / "queries.json"), settings.blind)
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    title = project_title(scenario, config, data.digest)
    archive = collecting.archive_of(title)
    known = ledger.recall(archive, manifest.keys())
    open_queries = collecting.unanswered(manifest, known, settings)

    connection = asking.connect(settings)
    client = connection.client
    project = projects.ensure(client, title, settings)
    if settings.expert == "human":  # simulated experts read no page; `compare` completes it for later readers
        projects.show_effects(client, project, scenario, config)
        notices.opens(client, project, open_queries)
    client.push(project, open_queries, folder)
    if settings.expert == "simulated":
        asking.simulate(connection, project, open_queries, settings=settings, data=data)
    elif open_queries.queries:
        asking.wait_for_people(
            connection, project, manifest, known=known, archive=archive, settings=settings, patience=patience
        )

    everything = collecting.recorded(archive, client.pull(project))  # of all rounds, and of queries no longer asked
    if settings.adjudicate:
        found = [*known, *everything]
        everything += decide(client, title, settings, manifest=manifest, folder=folder, answers=found)
    queries = manifest.keys()
    answers = collecting.merge(known, [answer for answer in everything if answer.key in queries])
    write_answers(folder / "answers.json", answers)
    counts = summary(answers, queries)
    print(f"{scenario}, round {round}: {counts}; {len(manifest.queries)} queries at {project.url}")
    rounds = [entry.n for entry in config.hitl.rounds]
    for line in collecting.late_answers(scenario, rounds[: rounds.index(round)], everything):
        print(f"{line}. Both versions are kept in {archive}")
