"""Several experts on one image: the overlap at the server, who is waited for, and simulated crowds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
from fakes.label_studio import CROWD
from fakes.queries import SIDE, manifest, proposal

from labelstudio.client import connection, projects, waiting
from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert, assigned
from labelstudio.exchange import effects, geometry, ledger, regions
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import AnnotationError, Manifest, read_answers
from labelstudio.reading.consensus import judged
from labelstudio.reading.verdicts import Verdict, verdict
from labelstudio.server import local
from pipeline.annotation import asking, collecting, crowd
from pipeline.annotation.projects import project_title, show_all_effects
from pipeline.config import Annotate, Simulated, load
from pipeline.paths import step_dir
from pipeline.stages import annotate

HARD_OF_HEARING = Annotate(
    expert="simulated",
    experts_per_query=2,
    evidence_share=0.05,
    crowd=[Simulated(), Simulated(miss_rate=0.4, speed_s=20.0), Simulated(false_alarm_rate=0.3, absent=0.5)],
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "SETTLE_S", 0.25)


@pytest.fixture
def admin(label_studio):
    return LabelStudio(label_studio.url, label_studio.api_key)


@pytest.fixture
def expert_keys(label_studio):
    """API keys of three experts."""
    if hasattr(label_studio, "data_dir"):  # the real one gets the accounts that it has not got yet
        label_studio = local.start(label_studio.data_dir, experts=3)
    return label_studio.expert_api_keys


def left_half(image_id: str) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, : SIDE // 2] = True
    return mask


def ask(label_studio, path: str, **params):
    """The server's own JSON at this path of its API."""
    headers = {"Authorization": f"Token {label_studio.api_key}"}
    return requests.get(f"{label_studio.url}/api/{path}", params=params, headers=headers, timeout=60).json()


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


@pytest.fixture
def with_crowd(monkeypatch, fake):
    """Have the stage ask this crowd at the fake."""
    monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", fake.api_key)
    monkeypatch.setenv("LABEL_STUDIO_EXPERT_API_KEY", ", ".join(fake.expert_api_keys))
    config = load()

    def use(settings):
        monkeypatch.setattr(annotate, "load", lambda: config.model_copy(update={"annotate": settings}))

    use(HARD_OF_HEARING)
    return use


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


def test_the_projects_page_says_what_earlier_rounds_did(label_studio, admin):
    project = admin.ensure_project("described")
    for text in ("Round 00: 41% …, 12%.", ""):
        admin.describe(project, text)
        assert ask(label_studio, f"projects/{project.id}")["description"] == text


def test_a_round_begins_with_telling_people_what_those_before_did(project_folder, with_crowd, fake, monkeypatch):
    _, scenario, step = project_folder
    later = step_dir(scenario, "01")
    later.mkdir()
    manifest(later, 2, round="01", first=50).write(later / "queries.json")
    with_crowd(HARD_OF_HEARING.model_copy(update={"expert": "human"}))
    monkeypatch.setattr(asking, "wait", lambda *_, **__: None)
    annotate.main(scenario, "00")
    ((_, there),) = fake.projects.items()
    assert there["description"] == ""
    (step / "effect").mkdir()
    shutil.copy(step / "000.png", step / "effect" / "a.png")
    effects.write(step / "effect.json", [effects.Effect("a", "effect/a.png", 0.5, 0.25)])
    for _ in range(2):
        annotate.main(scenario, "01")
    assert "Round 00: experts marked regions on 1 image" in there["description"]
    assert "50% of its attention lay on what must not matter" in there["description"]
    _, beside = fake.projects.values()
    assert beside["title"] == f"{there['title']}, effect"
    assert there["description"].endswith(f"Picture by picture: {fake.url}/projects/{beside['id']}/data")
    (shown,) = [task for task in fake.tasks.values() if task["project"] == beside["id"]]
    said = {name: shown["data"][name] for name in ("image_id", "round", "label", "prediction")}
    assert said == {"image_id": "a", "round": "00", "label": "50%", "prediction": "25%"}
    with_crowd(HARD_OF_HEARING)
    annotate.main(scenario, "01")
    assert [p["description"] for p in fake.projects.values() if "simulated" in p["title"]] == [""], "it reads no page"


def test_effects_are_shown_once_and_go_when_they_are_out_of_date(label_studio, admin, expert_keys, tmp_path):
    manifest(tmp_path, 2)  # for its pictures
    seen = [effects.Effect(f"image-{n}", f"00{n}.png", 0.5, 0.25) for n in range(2)]
    pictures = effects.manifest(seen, scenario="digits", round="00", folder=tmp_path)
    beside = admin.ensure_project("digits, effect", interface=projects.EFFECT)
    assert [admin.push(beside, pictures, tmp_path) for _ in range(2)] == [2, 0]
    tasks = admin.tasks(beside, pictures.keys())
    assert [task.image_id for task in tasks] == ["image-0", "image-1"]
    assert admin.ensure_project(beside.title, interface=projects.EFFECT) == beside

    LabelStudio(label_studio.url, expert_keys[0]).annotate(  # has looked at it
        tasks[0], expert=CROWD[0], result=[], lead_time=1.0
    )
    kept = list(pictures.keys())[1:]
    for _ in range(2):
        admin.keep_only(beside, kept)
        assert [task.key for task in admin.tasks(beside)] == kept


def test_the_last_rounds_effect_is_shown_when_all_is_compared(project_folder, with_crowd, fake):
    step = project_folder[2]
    (step / "effect").mkdir()

    def trained(picture: str, after: float) -> None:
        shutil.copy(step / picture, step / "effect" / "a.png")
        effects.write(step / "effect.json", [effects.Effect("a", "effect/a.png", 0.5, after)])

    trained("000.png", after=0.25)
    for _ in range(2):
        show_all_effects(load())
    there, beside = fake.projects.values()
    assert "50% of its attention lay on what must not matter; afterwards, 25%." in there["description"]
    assert [task["data"]["prediction"] for task in fake.tasks.values()] == ["25%"]
    trained("001.png", after=0.1)
    show_all_effects(load())
    assert there["description"].count("Round 00") == there["description"].count(" 10%.") == 1
    assert [(task["project"], task["data"]["prediction"]) for task in fake.tasks.values()] == [(beside["id"], "10%")]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_without_a_server_the_comparison_ends_well_and_says_how_to_show_effects(
    project_folder, with_crowd, monkeypatch, capsys, url
):
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    show_all_effects(load())
    said = capsys.readouterr().out
    assert "warning: experts cannot see the effects of their marks yet: no Label Studio " in said
    assert "`lookaway server start`" in said
    assert said.endswith("`dvc repro --force --single-item compare`\n")
    assert not Path(".labelstudio").exists()


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
