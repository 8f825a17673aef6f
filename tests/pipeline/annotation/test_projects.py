"""A scenario's project at Label Studio."""

from pipeline.annotation.projects import project_title
from pipeline.config import load


def test_people_never_meet_a_machines_answers():
    config = load()
    human = config.model_copy(update={"annotate": config.annotate.model_copy(update={"expert": "human"})})
    scenario = config.hitl.scenarios[0]
    titles = {project_title(scenario, c, "data") for c in (config, human, config.model_copy(update={"seed": 1}))}
    assert len(titles) == 3
    assert all(len(project_title("x" * 24, c, "data")) <= 50 for c in (config, human))
