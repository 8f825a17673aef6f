"""A scenario's project at Label Studio."""

import pytest
from fakes.clients import rest

from labelstudio.exchange.records import AnnotationError
from pipeline.annotation.projects import project_title
from pipeline.config import Annotate, load
from pipeline.stages import annotate


def test_people_never_meet_a_machines_answers():
    config = load()
    human = config.model_copy(update={"annotate": config.annotate.model_copy(update={"expert": "human"})})
    scenario = config.hitl.scenarios[0]
    titles = {project_title(scenario, c, "data") for c in (config, human, config.model_copy(update={"seed": 1}))}
    assert len(titles) == 3
    assert all(len(project_title("x" * 24, c, "data")) <= 50 for c in (config, human))


@pytest.fixture
def ask(project_folder, asked_at_fake, monkeypatch):
    """Ask people about an open round."""
    _, scenario, _ = project_folder
    human = Annotate(expert="human", evidence_share=0.05)
    config = load().model_copy(update={"annotate": human})
    monkeypatch.setattr(annotate, "load", lambda: config)

    def again():
        with pytest.raises(AnnotationError, match="0/8 answered"):
            annotate.main(scenario, "00")

    again()
    return again


def test_a_project_that_is_renamed_while_a_round_is_open_stays_its_project(ask, fake, project_folder, capsys):
    ((number, project),) = fake.projects.items()
    title = project["title"]
    assert rest(fake).patch(f"/api/projects/{number}/", json={"title": "Dr. Miller's images"}).ok
    foreign = rest(fake).post("/api/projects/", json={"title": title, "label_config": "<View/>"}).json()
    for _ in range(2):
        ask()
    assert sorted(fake.projects) == [number, foreign["id"]]
    assert {task["project"] for task in fake.tasks.values()} == {number}
    assert len(fake.tasks) == 8
    assert f"'{title}' is called \"Dr. Miller's images\"" in capsys.readouterr().out
    for path in project_folder[0].glob("answers/*.project.json"):
        path.unlink()
    ask()
    assert len(fake.tasks) == 8, "known by its mark, without the file"


def test_a_project_that_is_gone_is_replaced_with_a_word(ask, fake, capsys):
    (number,) = fake.projects
    del fake.projects[number]
    fake.tasks.clear()
    foreign = rest(fake).post("/api/projects/", json={"title": "somebody else's", "label_config": "<View/>"}).json()
    assert foreign["id"] == number, "the number recurs"
    ask()
    assert "is not at" in capsys.readouterr().out
    (other,) = (n for n in fake.projects if n != number)
    assert {task["project"] for task in fake.tasks.values()} == {other}
