"""A project's page says what its experts wait for: before the first round, between rounds, and after the last one."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import numpy as np
import pytest
from fakes.clients import rest
from fakes.queries import SIDE

from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.experts import SimulatedExpert
from labelstudio.client.projects import INSTRUCTIONS
from labelstudio.exchange.records import AnnotationError, Manifest
from pipeline.annotation import notices, projects
from pipeline.commands import repro
from pipeline.config import Annotate, load
from pipeline.stages import annotate

SINCE = r"since \d\d:\d\d \(UTC[+-]\d{4}\)"


class Run:
    """A run whose only round people answer."""

    def __init__(self, scenario, folder, server, monkeypatch):
        self.scenario, self.folder, self.server = scenario, folder, server
        self.config = load().model_copy(update={"annotate": Annotate(expert="human", evidence_share=0.05)})
        monkeypatch.setattr(annotate, "load", lambda: self.config)

    def starts(self) -> None:
        repro._show_links(self.config)

    def asks(self) -> None:
        annotate.main(self.scenario, "00")

    def answered(self) -> None:
        client = LabelStudio(self.server.url, self.server.expert_api_key)
        expert = SimulatedExpert(client, lambda _: np.zeros((SIDE, SIDE), bool))
        keys = Manifest.read(self.folder / "queries.json").keys()
        expert.answer(client.ensure_project(f"{self.scenario}, seed 0"), keys)

    def said(self) -> str:
        """The notice before the instructions."""
        (project,) = [found for found in self.server.projects.values() if not found["title"].endswith("effect")]
        before, _, after = project["expert_instruction"].partition(INSTRUCTIONS)
        assert after == ""
        return before

    def waited(self, minutes: float) -> None:
        """As if the wait had begun earlier."""
        (path,) = notices.WAITS.glob("*.json")
        wait = json.loads(path.read_text())
        wait["since"] = (datetime.fromisoformat(wait["since"]) - timedelta(minutes=minutes)).isoformat()
        path.write_text(json.dumps(wait))


@pytest.fixture
def run(project_folder, asked_at_fake, fake, monkeypatch):
    _, scenario, folder = project_folder
    return Run(scenario, folder, fake, monkeypatch)


def test_the_link_works_before_a_round_between_rounds_and_afterwards(run, monkeypatch, capsys):
    run.starts()
    printed = capsys.readouterr().out
    assert f"{run.scenario}: {run.server.url}/projects/1/data?labeling=1" in printed
    assert "There is nothing to answer yet." in run.said()
    assert re.search(SINCE, run.said())
    assert "about 4 minutes in the demo" in run.said()

    run.waited(minutes=7)
    with pytest.raises(AnnotationError, match="0/8 answered"):
        run.asks()
    assert run.said() == ""
    run.starts()
    assert run.said() == "", "the round is open"
    run.answered()
    run.asks()
    assert "Round 00 has its answers: thank you." in run.said()
    assert "The wait before this one took 7 minutes." in run.said()
    run.waited(minutes=600)
    run.starts()  # after an interruption, on another day
    assert "Round 00 has its answers" in run.said()
    assert f"{datetime.now():%H:}" in run.said()
    run.asks()
    assert "Round 00 has its answers" in run.said(), "nothing was left to ask"

    monkeypatch.setattr(projects.prepared, "read", annotate.prepared.read)
    monkeypatch.setattr(projects.local, "is_there", lambda: True)
    monkeypatch.setattr(projects.effects, "words", lambda rounds: "40% & 5%\nPicture by picture: http://there/2")
    monkeypatch.setattr(projects.effects, "read", lambda path: [])
    projects.show_all_effects(run.config)
    assert "There is nothing to answer now." in run.said()
    assert '40% &amp; 5%<br>Picture by picture: <a href="http://there/2">http://there/2</a>' in run.said()
    run.starts()
    assert "There is nothing to answer now." in run.said()


def test_edited_instructions_stay(run):
    run.starts()
    (number,) = run.server.projects
    text = "<p>Look for <b>rulers</b>.</p>"
    path = f"/api/projects/{number}/"
    edited = run.server.projects[number]["expert_instruction"].replace(INSTRUCTIONS, text)
    assert rest(run.server).patch(path, json={"expert_instruction": edited}).ok
    with pytest.raises(AnnotationError, match="0/8 answered"):
        run.asks()
    assert run.server.projects[number]["expert_instruction"] == text
    run.answered()
    run.asks()
    assert run.server.projects[number]["expert_instruction"].endswith(f"</div>{text}")


DAMAGE = [
    "",
    "{",
    "[1]",
    '{"until": 3}',
    '{"since": 3}',
    '{"since": "noon"}',
    '{"took_s": "long"}',
    '{"took_s": 1e999}',
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_note_of_the_wait_costs_its_length_only(run, damage):
    run.starts()
    (path,) = notices.WAITS.glob("*.json")
    path.write_text(damage)
    run.starts()
    assert "There is nothing to answer yet." in run.said()
    assert "about 4 minutes in the demo" in run.said()
    path.write_text(damage)
    with pytest.raises(AnnotationError, match="0/8 answered"):
        run.asks()
    assert run.said() == ""


def test_a_server_that_takes_no_notice_costs_a_warning(run, monkeypatch, capsys):
    run.starts()
    with pytest.raises(AnnotationError, match="0/8 answered"):
        run.asks()
    run.answered()

    def away(client, project, notice):
        raise Unreachable(f"{client.url} is away")

    monkeypatch.setattr(LabelStudio, "announce", away)
    run.asks()
    assert "does not say what experts wait for" in capsys.readouterr().out
    assert (run.folder / "answers.json").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "less than a minute"), (70, "a minute"), (200, "3 minutes"), (3 * 3600, "3 hours")],
)
def test_lengths_of_time_are_words(seconds, words):
    assert notices._words(seconds) == words
