"""Several experts on one image: the overlap at the server, who is waited for, and simulated crowds."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from fakes.crowds import HARD_OF_HEARING, ask
from fakes.label_studio import CROWD
from fakes.queries import SIDE, manifest, proposal

from labelstudio.client import connection, waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert, assigned
from labelstudio.exchange import geometry, ledger, regions
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import AnnotationError, Manifest, read_answers
from labelstudio.reading.consensus import judged
from labelstudio.reading.verdicts import Verdict, verdict
from pipeline.annotation import collecting, crowd
from pipeline.annotation.projects import project_title
from pipeline.config import Annotate, Simulated, load
from pipeline.stages import annotate


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "SETTLE_S", 0.25)


def left_half(image_id: str) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, : SIDE // 2] = True
    return mask


def labelled(label_studio, project) -> list[bool]:
    """Whether the server itself counts each task as complete."""
    rows = ask(label_studio, "tasks", project=project.id, fields="all")["tasks"]
    return [row["is_labeled"] for row in sorted(rows, key=lambda row: row["id"])]


def test_a_query_is_answered_when_so_many_experts_have_answered_it(label_studio, admin, expert_keys, tmp_path):
    asked = manifest(tmp_path, 2)
    project = admin.ensure_project("needs three experts", 3)
    admin.push(project, asked, tmp_path)
    for number, key in enumerate(expert_keys):
        assert labelled(label_studio, project) == [False, False]
        assert admin.progress(project, asked.keys(), experts=3).answered == 0
        assert admin.progress(project, asked.keys(), experts=number).answered == 2
        with pytest.raises(AnnotationError, match=r"^0/2 answered"):
            waiting.wait(admin, project, asked.keys(), limit_s=0, experts=3)
        SimulatedExpert(LabelStudio(label_studio.url, key), left_half).answer(project, asked.keys())
    assert labelled(label_studio, project) == [True, True]
    waiting.wait(admin, project, asked.keys(), limit_s=0, experts=3)
    assert {answer.expert for answer in admin.pull(project, asked.keys())} == set(CROWD)


def test_earlier_marks_are_shown_and_are_nobodys_answer(label_studio, admin, expert_keys, tmp_path):
    (query,) = manifest(tmp_path, 1).queries
    asked = Manifest("digits", "01", (dataclasses.replace(query, earlier=(proposal(6, 6),)),))
    project = admin.ensure_project("asked again")
    admin.push(project, asked, tmp_path)
    (task,) = admin.tasks(project, asked.keys())
    assert task.prediction()["result"] == regions.to_result(asked.queries[0])
    SimulatedExpert(LabelStudio(label_studio.url, expert_keys[0]), left_half).answer(project, asked.keys())
    (answer,) = admin.pull(project, asked.keys())
    marked, unused = regions.mask(answer.result, SIDE, SIDE)
    np.testing.assert_array_equal(marked, geometry.pixels(proposal(7, 7), SIDE, SIDE))
    assert unused == []
    assert "c6r6" in {entry["id"] for entry in answer.result}


def test_an_expert_without_known_evidence_cannot_judge(label_studio, admin, expert_keys, tmp_path):
    asked = manifest(tmp_path, 2)
    project = admin.ensure_project("evidence of one image only")
    admin.push(project, asked, tmp_path)
    known = {asked.queries[0].image_id: left_half("")}
    SimulatedExpert(LabelStudio(label_studio.url, expert_keys[0]), known.get).answer(project, asked.keys())
    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    said = [verdict(answers[query.image_id], query) for query in asked.queries]
    assert said[1] is Verdict.CANNOT_JUDGE
    assert said[0] is not Verdict.CANNOT_JUDGE
    SimulatedExpert(LabelStudio(label_studio.url, expert_keys[0]), known.get).answer(project, asked.keys())
    assert len(admin.pull(project, asked.keys())) == 2, "it is asked once"


def test_the_number_of_experts_can_be_changed_later(label_studio, admin, expert_keys, tmp_path):
    asked = manifest(tmp_path, 1)
    project = admin.ensure_project("one more expert")
    admin.push(project, asked, tmp_path)
    SimulatedExpert(LabelStudio(label_studio.url, expert_keys[0]), left_half).answer(project, asked.keys())
    assert labelled(label_studio, project) == [True]
    assert admin.ensure_project(project.title, 2) == project
    assert labelled(label_studio, project) == [False]
    assert admin.ensure_project(project.title, 1) == project
    assert labelled(label_studio, project) == [True]


def test_what_the_server_lost_counts_all_the_same(fake, admin_of_fake, tmp_path):
    asked = manifest(tmp_path, 1)
    project = admin_of_fake.ensure_project("lost", 2)
    admin_of_fake.push(project, asked, tmp_path)
    SimulatedExpert(LabelStudio(fake.url, fake.expert_api_keys[0]), left_half).answer(project, asked.keys())
    known = admin_of_fake.pull(project, asked.keys())
    fake.annotations.clear()
    SimulatedExpert(LabelStudio(fake.url, fake.expert_api_keys[1]), left_half).answer(project, asked.keys())
    waiting.wait(admin_of_fake, project, asked.keys(), limit_s=0, experts=2, known=known)
    merged = collecting.merge(known, admin_of_fake.pull(project, asked.keys()))
    assert sorted(answer.expert for answer in merged) == sorted(CROWD[:2])


@pytest.fixture
def admin_of_fake(fake):
    return LabelStudio(fake.url, fake.api_key)


def test_who_answers_follows_from_the_query_alone():
    keys = [f"key-{n}" for n in range(1000)]
    absences = [0.0, 0.5, 1.0]
    found = [assigned(key, absences, 2) for key in keys]
    assert found == [assigned(key, absences, 2) for key in keys]
    assert {tuple(numbers) for numbers in found} == {(0,), (0, 1)}
    assert sum(len(numbers) == 2 for numbers in found) == pytest.approx(500, abs=60)
    one_each = [number for key in keys for number in assigned(key, [0.0, 0.0, 0.0], 1)]
    assert [one_each.count(n) for n in range(3)] == pytest.approx([333] * 3, abs=60)
    assert assigned("key", [1.0], 1) == []


# --- the whole stage ---


def test_a_simulated_crowd_answers_each_in_its_own_way(project_folder, with_crowd, fake):
    folder, scenario, step = project_folder
    annotate.main(scenario, "00")
    text = (step / "answers.json").read_text()
    answers, asked = read_answers(step / "answers.json"), manifest(folder, 8)
    by_key = {key: [a for a in answers if a.key == key] for key in asked.keys()}  # noqa: SIM118
    counts = [len(given) for given in by_key.values()]
    assert set(counts) <= {1, 2}
    assert max(counts) == 2
    assert sum(counts) == len({(a.key, a.expert) for a in answers})
    by_expert = {expert: [a for a in answers if a.expert == expert] for expert in CROWD}
    assert all(by_expert.values())
    queries = asked.keys()
    truth = [False, False, True]  # of the proposals, only the one in cell (7,7) is outside of the evidence
    perfect, misses, alarms = ([judged(queries[a.key], a).tolist() for a in by_expert[e]] for e in CROWD)
    assert all(marks == truth for marks in perfect)
    assert any(marks == [False] * 3 for marks in misses)
    assert all(not (marks[0] or marks[1]) for marks in misses)
    assert all(marks[2] for marks in alarms)
    assert all(2.5 <= a.lead_time <= 7.5 for a in by_expert[CROWD[0]])
    assert all(10 <= a.lead_time <= 30 for a in by_expert[CROWD[1]])

    # A server that knows nothing, and no archive: the same answers but for the clock and the server's numbers.
    fake.tasks.clear(), fake.annotations.clear(), fake.projects.clear(), fake.uploads.clear()
    shutil.rmtree("answers")
    annotate.main(scenario, "00")
    changing = ("annotation_id", "created_at", "updated_at", "parent_prediction")
    first, second = (
        [{**a, **dict.fromkeys(changing)} for a in json.loads(t)] for t in (text, (step / "answers.json").read_text())
    )
    assert first == second


def test_nobody_is_asked_again_when_all_that_are_there_have_answered(project_folder, with_crowd, fake, capsys):
    _, scenario, step = project_folder
    annotate.main(scenario, "00")
    first = (step / "answers.json").read_text()
    annotations = len(fake.annotations)
    annotate.main(scenario, "00")
    assert "8 of 8 queries were answered before" in capsys.readouterr().out
    assert (step / "answers.json").read_text() == first
    assert len(fake.annotations) == annotations


def test_a_crowd_of_whom_nobody_is_there_keeps_nobody_waiting(project_folder, with_crowd):
    _, scenario, step = project_folder
    away = HARD_OF_HEARING.model_copy(update={"crowd": [Simulated(absent=1.0)] * 3})
    with_crowd(away)
    annotate.main(scenario, "00")
    assert read_answers(step / "answers.json") == []


def test_each_simulated_expert_marks_as_its_setting_says(tmp_path):
    asked = manifest(tmp_path, 6)
    mixed = Annotate(
        expert="simulated",
        experts_per_query=2,
        evidence_share=0.05,
        crowd=[Simulated(), Simulated(marks="evidence")],
    )
    said = {(a.expert, verdict(a)) for a in crowd.answers(asked, mixed, left_half)}
    assert said == {("simulated-0", Verdict.MARKED), ("simulated-1", Verdict.EVIDENCE)}


def test_each_simulated_expert_needs_an_account_of_its_own(project_folder, with_crowd, fake, monkeypatch):
    _, scenario, _ = project_folder
    monkeypatch.setenv("LABEL_STUDIO_EXPERT_API_KEY", fake.expert_api_keys[0])
    with pytest.raises(AnnotationError, match=r"`LABEL_STUDIO_EXPERT_API_KEY` has 1 keys"):
        annotate.main(scenario, "00")
    monkeypatch.setenv("LABEL_STUDIO_EXPERT_API_KEY", ",".join([fake.expert_api_keys[0]] * 3))
    with pytest.raises(AnnotationError, match="belong to one account"):
        annotate.main(scenario, "00")


def test_each_crowd_has_a_project_and_an_archive_of_its_own():
    config = load()
    one, other = (config.model_copy(update={"annotate": a}) for a in (config.annotate, HARD_OF_HEARING))
    soft = other.model_copy(update={"consensus": other.consensus.model_copy(update={"soft": True})})
    titles = [project_title("digits", c, "data") for c in (one, other, soft)]
    assert titles[0] != titles[1]
    assert titles[1] == titles[2]  # how answers are read is no reason to ask for them again
    assert ledger.recall(collecting.ARCHIVES / "none.jsonl", ["key"]) == []
