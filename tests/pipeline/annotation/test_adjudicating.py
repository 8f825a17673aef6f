"""Disputes: one named account decides them, and everybody's answer stays in the record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes.clients import rest
from fakes.queries import SIDE

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange.records import AnnotationError, Manifest, read_answers
from labelstudio.reading import agreement, consensus
from pipeline.annotation import collecting
from pipeline.config import Annotate, load
from pipeline.errors import ConfigError
from pipeline.feedback.answers import to_entries
from pipeline.stages import annotate

NOWHERE, EVERYWHERE = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)
HEAD = "expert-3@localhost.local"  # the fake's account 4
NUMBERS = {"expert@localhost.local": 0, "expert-2@localhost.local": 1, HEAD: 2}


class Round:
    """A round that two people answer, and a third decides."""

    def __init__(self, scenario, step, server, patch):
        self.scenario, self.step, self.server, self.patch = scenario, step, server, patch
        self.queries = Manifest.read(step / "queries.json").keys()

    def annotate(self, adjudicate: str | None = HEAD, blind: int = 0):
        settings = Annotate(
            expert="human", experts_per_query=2, evidence_share=0.05, adjudicate=adjudicate, blind=blind
        )
        config = load().model_copy(update={"annotate": settings})
        self.patch.setattr(annotate, "load", lambda: config)
        annotate.main(self.scenario, "00")
        return read_answers(self.step / "answers.json")

    def answer(self, expert: str, evidence, keys=None, project: str = "") -> None:
        """An expert without evidence in mind marks every proposal; with evidence everywhere, none."""
        client = LabelStudio(self.server.url, self.server.expert_api_keys[NUMBERS[expert]])
        there = client.ensure_project(f"{self.scenario}, seed 0{project}", 100 if project else 2)
        SimulatedExpert(client, lambda _: evidence).answer(there, self.queries if keys is None else keys)

    def offered(self):
        """The keys of the disputes that are shown."""
        (number,) = [n for n, p in self.server.projects.items() if p["title"].endswith(", decide")]
        admin = LabelStudio(self.server.url, self.server.api_key)
        project = admin.ensure_project(self.server.projects[number]["title"], 100)
        return {task.key for task in admin.tasks(project) if not task.withdrawn}

    def masked(self, answers) -> dict[str, bool]:
        found = consensus.weights(self.queries, answers, rule="majority", soft=False)
        return {key: bool(weight.any()) for key, weight in found.items()}


@pytest.fixture
def round_(project_folder, asked_at_fake, fake, monkeypatch):
    _, scenario, step = project_folder
    found = Round(scenario, step, fake, monkeypatch)
    with pytest.raises(AnnotationError, match="0/8 answered"):
        found.annotate()
    return found


def disagree_on(round_, count: int) -> list[str]:
    """Both experts answer all queries, and the last ``count`` ones differently."""
    keys = list(round_.queries)
    round_.answer("expert@localhost.local", NOWHERE)
    round_.answer("expert-2@localhost.local", NOWHERE, keys[: 8 - count])
    round_.answer("expert-2@localhost.local", EVERYWHERE, keys[8 - count :])
    return keys[8 - count :]


def test_only_disputes_are_decided_and_a_decision_counts_alone(round_, capsys):
    disputed = disagree_on(round_, 3)
    with pytest.raises(AnnotationError, match=r"0/3 answered"):
        round_.annotate()
    assert f"experts disagree on 3 of 8 queries: {HEAD} decides at {round_.server.url}" in capsys.readouterr().out
    assert round_.offered() == set(disputed)
    round_.answer(HEAD, NOWHERE, disputed[:1], ", decide")
    round_.answer(HEAD, EVERYWHERE, disputed[1:], ", decide")
    answers = round_.annotate()
    assert round_.masked(answers) == {key: key not in disputed[1:] for key in round_.queries}
    said = [(a.expert, a.decides) for a in answers]
    assert {expert: said.count((expert, False)) for expert in NUMBERS} == dict(zip(NUMBERS, (8, 8, 0), strict=True))
    assert said.count((HEAD, True)) == len([who for who, decides in said if decides]) == 3
    assert len(to_entries(Manifest.read(round_.step / "queries.json"), answers, load().consensus)) == 8

    found = agreement.report(round_.queries, answers, {})
    assert set(found["experts"]) == {"expert@localhost.local", "expert-2@localhost.local"}
    assert found["iou"] == pytest.approx(5 / 8)
    (first, *_) = found["decisions"]
    assert first["said"] == {"expert@localhost.local": "marked", "expert-2@localhost.local": "submitted untouched"}
    assert (first["by"], first["decision"]) == (HEAD, "marked")
    assert len(found["decisions"]) == 3


def test_a_decision_holds_whatever_happens_later(round_):
    disputed = disagree_on(round_, 2)
    with pytest.raises(AnnotationError, match=r"0/2 answered"):
        round_.annotate()
    round_.answer(HEAD, EVERYWHERE, disputed, ", decide")
    answers = round_.annotate()
    assert round_.annotate() == answers  # a re-run
    assert round_.annotate("expert-2@localhost.local") == answers  # another account decides from now on
    assert round_.annotate(None) == answers  # and nobody
    assert rest(round_.server).patch("/api/users/4/", json={"email": "married@localhost.local"}).ok
    assert round_.annotate("married@localhost.local") == answers
    assert rest(round_.server).delete("/api/users/4/").ok
    assert {a.identity() for a in round_.annotate(None)} == {a.identity() for a in answers}
    round_.server.annotations.clear()
    assert {a.identity() for a in round_.annotate("expert@localhost.local")} == {a.identity() for a in answers}
    lines = [json.loads(line) for line in next(round_.step.parents[2].glob("answers/*.jsonl")).read_text().splitlines()]
    assert sum(line.get("decides", False) for line in lines) == 2
    assert len({(line["key"], line["annotation_id"]) for line in lines}) == len(lines) == 18


def test_anybody_elses_answer_to_a_dispute_is_kept_and_decides_nothing(round_):
    (key,) = disagree_on(round_, 1)
    with pytest.raises(AnnotationError, match=r"0/1 answered"):
        round_.annotate()
    round_.answer("expert@localhost.local", NOWHERE, [key], ", decide")
    with pytest.raises(AnnotationError, match=r"0/1 answered"):
        round_.annotate()
    assert round_.offered() == {key}
    round_.answer(HEAD, NOWHERE, [key], ", decide")
    answers = round_.annotate()
    assert sum(a.key == key for a in answers) == 4
    assert round_.masked(answers)[key]


def test_an_expert_who_decides_too_has_said_both(round_):
    (key,) = disagree_on(round_, 1)
    second = "expert-2@localhost.local"
    with pytest.raises(AnnotationError, match=r"0/1 answered"):
        round_.annotate(second)
    round_.answer(second, NOWHERE, [key], ", decide")
    answers = round_.annotate(second)
    own = [a for a in answers if (a.key, a.expert) == (key, second)]
    assert sorted(a.decides for a in own) == [False, True]
    assert round_.masked(answers)[key]
    round_.server.annotations.clear()
    assert round_.annotate(second) == answers
    assert agreement.report(round_.queries, answers, {})["iou"] == pytest.approx(7 / 8)


def test_a_decision_makes_up_for_no_missing_expert(round_):
    (key,) = disagree_on(round_, 1)
    with pytest.raises(AnnotationError, match=r"0/1 answered"):
        round_.annotate()
    round_.answer(HEAD, NOWHERE, [key], ", decide")
    answers = [a for a in round_.annotate() if a.expert != "expert-2@localhost.local"]
    assert collecting.experts_on(key, answers) == {"expert@localhost.local"}


def test_a_quorum_leaves_disputes_to_the_rule(round_):
    (key,) = disagree_on(round_, 1)
    round_.patch.setenv("ANNOTATE_QUORUM", "8")
    answers = round_.annotate()
    assert not round_.masked(answers)[key]  # a tie
    assert not any(a.decides for a in answers)


def test_a_decision_that_nobody_can_judge_the_image_leaves_no_mask(round_):
    (key,) = disagree_on(round_, 1)
    with pytest.raises(AnnotationError, match=r"0/1 answered"):
        round_.annotate()
    round_.answer(HEAD, None, [key], ", decide")
    answers = round_.annotate()
    assert key not in round_.masked(answers)
    entries = to_entries(Manifest.read(round_.step / "queries.json"), answers, load().consensus)
    assert sorted(entry.kind for entry in entries) == ["judged"] * 7 + ["unclear"]


def test_an_unknown_account_is_named_before_anybody_answers(round_):
    with pytest.raises(AnnotationError, match=r"has no account 'dr@example\.org'\. Fix: create"):
        round_.annotate("dr@example.org")


def test_the_setting_needs_people_who_can_disagree(project_folder):
    path = project_folder[0] / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("  evidence_share:", "  adjudicate: dr@example.org\n  evidence_share:", 1))
    with pytest.raises(ConfigError, match=r"annotate: `adjudicate` needs several people"):
        load()
