"""The setting `annotate.blind`: which queries come without outlines, and what a change of the setting asks again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from fakes.clients import left_half
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange.records import AnnotationError, read_answers
from pipeline.annotation import crowd
from pipeline.config import Annotate, Simulated, load
from pipeline.feedback.answers import to_entries
from pipeline.stages import annotate


def blind_keys(asked, count):
    return {key for key, query in crowd.blinded(asked, count).keys().items() if query.blind}


def test_a_larger_number_adds_queries(tmp_path):
    asked = manifest(tmp_path, 12)
    found = [blind_keys(asked, count) for count in range(13)]
    assert [len(keys) for keys in found] == list(range(13))
    assert all(less < more for less, more in pairwise(found))
    assert crowd.blinded(asked, 0) == asked
    assert list(crowd.blinded(asked, 5).keys()) == list(asked.keys())


def test_every_expert_answers_the_same_queries_without_outlines(tmp_path):
    asked = manifest(tmp_path, 8)
    settings = Annotate(
        expert="simulated", experts_per_query=2, evidence_share=0.05, blind=3, crowd=[Simulated(), Simulated()]
    )
    answers = crowd.answers(asked, settings, left_half)
    for number in range(2):
        own = [answer for answer in answers if answer.expert == f"simulated-{number}"]
        assert {answer.key for answer in own if answer.blind} == blind_keys(asked, 3)
        assert len(own) == 8
    entries = to_entries(asked, answers, load().consensus)
    assert sorted(entry.kind for entry in entries) == ["evidence"] * 3 + ["judged"] * 5


@pytest.fixture
def stage(project_folder, asked_at_fake, monkeypatch):
    _, scenario, step = project_folder
    config = load()

    def run(blind: int):
        settings = Annotate(expert="human", evidence_share=0.05, blind=blind)
        monkeypatch.setattr(annotate, "load", lambda: config.model_copy(update={"annotate": settings}))
        annotate.main(scenario, "00")
        return read_answers(step / "answers.json")

    return run


def test_a_changed_number_asks_no_answered_query_again(stage, fake, project_folder):
    folder, scenario, _ = project_folder
    asked = manifest(folder, 8)
    person = LabelStudio(fake.url, fake.expert_api_key)

    def answer(keys) -> None:
        SimulatedExpert(person, left_half).answer(person.ensure_project(f"{scenario}, seed 0"), keys)

    with pytest.raises(AnnotationError, match="0/8 answered"):
        stage(0)
    first = list(asked.keys())[:4]
    answer(first)
    with pytest.raises(AnnotationError, match="4/8 answered"):
        stage(8)
    answer(asked.keys())
    answers = stage(8)
    assert {a.key for a in answers if not a.blind} == set(first)
    assert len(answers) == len({a.key for a in answers}) == 8
    tasks = len(fake.tasks)
    assert stage(0) == stage(3) == answers
    assert len(fake.tasks) == tasks
