"""A scenario's project at Label Studio: what it is called, and what its page says of the rounds so far."""

from __future__ import annotations

import os

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.client.projects import Project
from labelstudio.exchange import before_after
from pipeline.config import Config, fingerprint
from pipeline.paths import step_dir


def project_title(scenario: str, config: Config, data: str) -> str:
    """One project for each scenario, seed and expert; ``data`` is the prepared data set's digest.

    A person never meets a machine's answers, nor a simulated expert those of one who knew or erred
    otherwise. Simulated experts of several DVC experiments at a time, which withdraw each other's questions where
    these differ, have a project for each experiment; people have one, so that nobody is asked twice.
    """
    title = f"{scenario}, seed {config.seed}"
    if config.annotate.expert == "human":
        return title
    experiment = os.environ.get("DVC_EXP_NAME", "")
    told_apart = fingerprint(config.annotate, data, experiment)[:4]
    return f"{title}, simulated {told_apart}"


def show_effects(client: LabelStudio, project: Project, scenario: str, config: Config) -> None:
    """Say on the project's page what the rounds trained so far did, and show it picture by picture beside it.

    However often: what is shown already stays, and what a round that was trained anew did before goes.
    """
    folders = {entry.n: step_dir(scenario, entry.n) for entry in config.hitl.rounds}
    rounds = {
        n: before_after.read(path / "effect.json") for n, path in folders.items() if (path / "effect.json").exists()
    }
    text = before_after.words(rounds)
    if text:
        head, _, told_apart = project.title.partition(", simulated")
        beside = client.ensure_project(f"{head}, effect{told_apart}", interface=projects.EFFECT)
        shown = {n: before_after.manifest(scenario, n, effects, folders[n]) for n, effects in rounds.items()}
        kept = client.keep_only(beside, set().union(*(manifest.keys() for manifest in shown.values())))
        for n, manifest in shown.items():
            client.push(beside, manifest, folders[n], known=kept)
        text += f"\nPicture by picture: {beside.url.partition('?')[0]}"
    client.describe(project, text)
