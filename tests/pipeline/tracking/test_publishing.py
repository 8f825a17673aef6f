"""The numbers of an arm's summary in MLflow."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.arms import results
from pipeline.config import Folder, load
from pipeline.evaluation import score_files
from pipeline.paths import scores_file
from pipeline.tracking import publishing

SCORES = {
    "min_loss": 0.1, "test_recall_a": 0.5, "external-ph2_accuracy": 0.7, "test_by_device-A_accuracy": 0.8,
    "test_by_device_lowest_recall": 0.2, "external-ph2_by_device_lowest_accuracy": 0.3, "test_by_sex-f_accuracy": 0.4,
}  # fmt: skip


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Publishes the shipped scenario with these groups; returns what each arm's run is given."""
    loaded = load()
    (scenario,) = loaded.scenarios
    monkeypatch.chdir(tmp_path)

    def publish(groups):
        own = Folder(source="folder", root="x", size=64, attributes=["device", "sex"])
        config = loaded.model_copy(
            update={
                "datasets": {"decoy-digits": own},
                "scenarios": {scenario: loaded.scenario(scenario).model_copy(update={"groups": groups})},
            }
        )
        arms = list(results.arms(config, scenario))
        score_files.write(scores_file(scenario), dict.fromkeys(arms, SCORES))
        given = {}
        for module, name in (
            (publishing.inputs, "images"), (publishing.inputs, "answers"), (publishing.runs, "log_queries"),
            (publishing.runs, "update"), (publishing.registered, "register"), (publishing.registered, "attach"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, lambda *_, **__: [])
        monkeypatch.setattr(results, "history", lambda folder: pd.DataFrame())
        monkeypatch.setattr(results, "summary", lambda history, arm: {"min_loss": 0.1})
        monkeypatch.setattr(publishing.runs, "log_evaluation", lambda *_, arm, **given_: given.update({arm: given_}))
        client = SimpleNamespace(
            log_inputs=lambda *_: None, get_run=lambda _: SimpleNamespace(info=SimpleNamespace(status="FINISHED"))
        )
        publishing._publish_scenario(client, "1", config=config, scenario=scenario)
        assert list(given) == arms
        return given["hitl"]

    return publish


def test_scores_of_external_sets_and_of_groups_are_published(published):
    assert set(published([])["summary"]) == {
        "min_loss", "external-ph2_accuracy", "external-ph2_by_device_lowest_accuracy",
    }  # fmt: skip
    assert set(published(["device"])["summary"]) == set(SCORES) - {"test_recall_a", "test_by_sex-f_accuracy"}


def test_the_page_of_the_screening_goes_with_the_report(published):
    assert str(published([])["screening"]) == "report/screening/decoy-digits.html"
