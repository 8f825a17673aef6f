"""Accounts are renamed and deleted while a study runs: no answer is lost, doubled or counted for two experts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from fakes.clients import rest
from fakes.queries import SIDE

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange.records import AnnotationError, Manifest, read_answers
from labelstudio.reading import agreement, consensus
from pipeline.config import Annotate, load
from pipeline.stages import annotate

NOWHERE, EVERYWHERE = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)


class Study:
    """One round that people answer, and its server."""

    def __init__(self, scenario, folder, server, monkeypatch):
        self.scenario, self.folder, self.server, self.patch = scenario, folder, server, monkeypatch
        self.queries = Manifest.read(folder / "queries.json").keys()
        self.title = f"{scenario}, seed 0"

    def annotate(self, experts: int) -> None:
        settings = Annotate(expert="human", experts_per_query=experts, evidence_share=0.05)
        config = load().model_copy(update={"annotate": settings})
        self.patch.setattr(annotate, "load", lambda: config)
        annotate.main(self.scenario, "00")

    def answer(self, expert: int, evidence, keys=None) -> None:
        """An expert without evidence in mind marks every proposal."""
        client = LabelStudio(self.server.url, self.server.expert_api_keys[expert])
        SimulatedExpert(client, lambda _: evidence).answer(client.ensure_project(self.title), keys or self.queries)

    def answers(self):
        return read_answers(self.folder / "answers.json")

    def masked(self) -> float:
        found = consensus.weights(self.queries, self.answers(), rule="majority", soft=False)
        return float(sum(weight.sum() for weight in found.values()))

    def ledger(self):
        return [
            json.loads(line)
            for line in next(self.folder.parents[2].glob("answers/*.jsonl")).read_text().split("\n")[:-1]
        ]


@pytest.fixture
def study(project_folder, asked_at_fake, fake, monkeypatch):
    _, scenario, folder = project_folder
    found = Study(scenario, folder, fake, monkeypatch)
    with pytest.raises(AnnotationError, match="0/8 answered"):
        found.annotate(experts=1)
    return found


LEAVES = {
    "deleted": lambda server, account: rest(server).delete(f"/api/users/{account}/"),
    "renamed": lambda server, account: rest(server).patch(
        f"/api/users/{account}/", json={"email": "married@localhost.local"}
    ),
}
ACCOUNTS = {0: 2, 1: 3}  # the fake's accounts of the experts


@pytest.mark.parametrize("form", ["int", "dict"])
@pytest.mark.parametrize("change", LEAVES)
def test_a_second_expert_is_still_asked_when_the_first_ones_account_changes(study, change, form):
    study.server.completed_by = form
    study.answer(0, NOWHERE)
    study.annotate(experts=1)
    before = study.answers()
    assert LEAVES[change](study.server, ACCOUNTS[0]).ok
    with pytest.raises(AnnotationError, match="0/8 answered"):
        study.annotate(experts=2)
    study.answer(1, NOWHERE)
    study.annotate(experts=2)
    after = study.answers()
    assert {a.identity() for a in before} < {a.identity() for a in after}
    assert len({a.identity() for a in after}) == len(after) == 16
    assert {a.expert for a in after} == {"expert@localhost.local", "expert-2@localhost.local"}
    found = agreement.report(study.queries, after, {})
    assert [own["answers"] for own in found["experts"].values()] == [8, 8]
    assert len(study.ledger()) == 16


@pytest.mark.parametrize("change", LEAVES)
def test_a_tie_stays_a_tie_when_an_account_changes(study, change):
    study.answer(0, NOWHERE)
    study.answer(1, EVERYWHERE)
    study.annotate(experts=2)
    assert study.masked() == 0
    assert LEAVES[change](study.server, ACCOUNTS[0]).ok
    study.annotate(experts=2)
    assert study.masked() == 0
    assert len(study.answers()) == len(study.ledger()) == 16


def test_a_renamed_expert_stays_one_expert_in_later_answers(study):
    first, *rest_ = study.queries
    study.answer(0, NOWHERE, [first])
    with pytest.raises(AnnotationError, match="1/8 answered"):
        study.annotate(experts=1)
    study.patch.setenv("ANNOTATE_QUORUM", "1")
    study.annotate(experts=1)
    LEAVES["renamed"](study.server, ACCOUNTS[0])
    study.answer(0, NOWHERE, rest_)
    study.annotate(experts=1)
    assert {a.expert for a in study.answers()} == {"expert@localhost.local"}
    assert len(study.answers()) == 8


def test_a_new_account_with_the_address_of_another_is_another_expert(study):
    study.answer(0, NOWHERE)
    study.annotate(experts=1)
    LEAVES["renamed"](study.server, ACCOUNTS[0])
    study.server.users[ACCOUNTS[1]] = "expert@localhost.local"
    study.answer(1, EVERYWHERE)
    study.annotate(experts=2)
    assert {a.expert for a in study.answers()} == {"expert@localhost.local", "expert@localhost.local (account 3)"}


def test_two_experts_whose_accounts_were_deleted_before_any_pull_are_two_experts(study):
    for expert in (0, 1):
        study.answer(expert, NOWHERE)
    for expert in (0, 1):
        LEAVES["deleted"](study.server, ACCOUNTS[expert])
    study.annotate(experts=2)
    assert len({(a.key, a.expert) for a in study.answers()}) == 16
    found = agreement.report(study.queries, study.answers(), {})
    assert sum(own["answers"] for own in found["experts"].values()) == 16


def test_a_skip_takes_no_recorded_answer_away(study):
    study.answer(0, NOWHERE)
    study.annotate(experts=1)
    server = study.server
    server.annotations.clear()  # the server has lost them
    for task in server.tasks:
        reply = rest(server, key=server.expert_api_key).post(
            f"/api/tasks/{task}/annotations/", json={"result": [], "was_cancelled": True}
        )
        assert reply.ok
    study.annotate(experts=1)
    assert sum(not a.skipped for a in study.answers()) == 8


def test_in_dvcs_copy_of_a_checkout_the_answers_are_kept_in_the_checkout(study, project_folder, monkeypatch):
    folder = project_folder[0]
    copy = folder / ".dvc/tmp/exps/standalone/tmpabc"
    shutil.copytree(folder / "runs", copy / "runs")
    shutil.copy(folder / "params.yaml", copy)
    monkeypatch.chdir(copy)
    study.answer(0, NOWHERE)
    study.annotate(experts=1)
    monkeypatch.chdir(folder)
    assert len(study.ledger()) == 8
    shutil.rmtree(copy)
    study.server.annotations.clear()
    study.annotate(experts=1)
    assert len(study.answers()) == 8


def test_an_old_folder_with_an_answer_under_two_names_is_read_with_each_once(study, capsys):
    study.answer(0, NOWHERE)
    study.annotate(experts=1)
    path = study.folder / "answers.json"
    old = [
        {name: value for name, value in entry.items() if name != "account"} for entry in json.loads(path.read_text())
    ]
    path.write_text(json.dumps([{**entry, "expert": "deleted-account-None"} for entry in old] + old))
    answers = study.answers()
    assert [a.expert for a in answers] == ["expert@localhost.local"] * 8
    assert "8 answers have two names" in capsys.readouterr().out
