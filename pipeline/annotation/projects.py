"""A scenario's project at Label Studio: its title, and the effects of past rounds on its page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.client.projects import Known, Project
from labelstudio.exchange import effects
from labelstudio.exchange.records import AnnotationError, moment, naming_damage
from labelstudio.server import local
from pipeline.annotation import collecting, notices
from pipeline.config import Annotate, Config, fingerprint
from pipeline.data import prepared
from pipeline.paths import prepared_dir, step_dir


def title_for_people(scenario: str, config: Config) -> str:
    """Return the title of people's one project for a scenario and seed; with several, people would be asked twice."""
    return f"{scenario}, seed {config.seed}"


def project_title(scenario: str, config: Config, data: str) -> str:
    """Return the title: one project for each scenario, seed and kind of expert.

    People and simulated experts never share a project, and neither do simulated experts with other traits. DVC
    experiments with simulated experts have a project each: experiments that run at the same time would withdraw each
    other's queries.

    Args:
        scenario: The scenario's name.
        config: All settings.
        data: The digest of the prepared data set.
    """
    title = title_for_people(scenario, config)
    if config.annotate.expert == "human":
        return title
    experiment = os.environ.get("DVC_EXP_NAME", "")
    told_apart = fingerprint(config.annotate, data, experiment)[:4]
    return f"{title}, simulated {told_apart}"


def ensure(client: LabelStudio, title: str, settings: Annotate, experts: int | None = None) -> Project:
    """Return the scenario's project, known by the number that is kept beside its answers, and say if it has changed.

    Args:
        client: Label Studio.
        title: The title that ``project_title`` gives.
        settings: How many experts answer a query, and which reasons they may give for a mark.
        experts: Another number of experts.
    """
    path = collecting.archive_of(title).with_suffix(".project.json")
    before = _kept(path)
    project = client.ensure_project(
        title, settings.experts_per_query if experts is None else experts, known=before, reasons=settings.reasons
    )
    if before is not None and before != project.known():
        print(f"the project {before[0]} of {title!r} is not at {client.url} any more; project {project.id} is used now")
    if project.name != title:
        print(f"the project {title!r} is called {project.name!r} at {client.url} now; it is still used")
    if before != project.known():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(dict(zip(("id", "created_at"), project.known(), strict=True))) + "\n")
        draft.replace(path)
    return project


def _kept(path: Path) -> Known | None:
    if not path.exists():
        return None
    with naming_damage(path, kind="a project's number", fix="restore it from Git, or remove it"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        moment(kept["created_at"])
        return int(kept["id"]), str(kept["created_at"])


def show_effects(client: LabelStudio, project: Project, scenario: str, config: Config) -> str:
    """Describe the effects of all trained rounds on the project's page, and show their pictures in a project beside it.

    Returns the description; "" before the first round is trained.

    A repeated call changes nothing. The pictures of a round that was trained again are replaced.

    Args:
        client: Label Studio.
        project: The scenario's project.
        scenario: The scenario's name.
        config: All settings.
    """
    folders = {entry.n: step_dir(scenario, entry.n) for entry in config.hitl.rounds}
    rounds = {n: effects.read(path / "effect.json") for n, path in folders.items() if (path / "effect.json").exists()}
    text = effects.words(rounds)
    if text:
        head, _, told_apart = project.title.partition(", simulated")
        beside = client.ensure_project(f"{head}, effect{told_apart}", interface=projects.EFFECT)
        shown = {n: effects.manifest(seen, scenario=scenario, round=n, folder=folders[n]) for n, seen in rounds.items()}
        kept = client.keep_only(beside, set().union(*(manifest.keys() for manifest in shown.values())))
        for n, manifest in shown.items():
            client.push(beside, manifest, folders[n], known=kept)
        text += f"\nPicture by picture: {beside.url.partition('?')[0]}"
    client.describe(project, text)
    return text


def show_all_effects(config: Config) -> None:
    """Show the effects of all rounds of all scenarios, the last round's too.

    No output of DVC depends on this: without a Label Studio, it prints a warning.
    """
    try:
        if not local.is_there():
            raise AnnotationError(
                "no Label Studio is running. Fix: start the local server with `lookaway server start`"
            )
        url, api_key, _ = local.connect()
        client = LabelStudio(url, api_key)
        client.check()
        for scenario in config.hitl.scenarios:
            data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
            title = project_title(scenario, config, data.digest)
            project = ensure(client, title, config.annotate)
            notices.ends(client, project, show_effects(client, project, scenario, config))
    except AnnotationError as error:
        print(f"\nwarning: experts cannot see the effects of their marks yet: {error}")
        print("To show the effects later, run `dvc repro --force --single-item compare`")
