"""The effect of earlier marks is shown to people: in the project's description, and picture by picture."""

import shutil
from pathlib import Path

import pytest
from fakes.crowds import HARD_OF_HEARING, ask
from fakes.label_studio import CROWD
from fakes.queries import manifest

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.exchange import effects
from pipeline.annotation import asking
from pipeline.annotation.projects import show_all_effects
from pipeline.config import load
from pipeline.paths import step_dir
from pipeline.stages import annotate


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
