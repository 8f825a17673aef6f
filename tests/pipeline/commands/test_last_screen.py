"""The last screen of the demo: one sentence, one small table, where to look, and what to try next."""

import json
import shutil

import pytest
from fakes.checkout import ROOT

from pipeline.commands import last_screen
from pipeline.config import load
from pipeline.report import meaning

SENTENCE = "digits: the network loses 40.0 points. With 80 answers from experts (hitl), it loses 10.0 points."
DIFFERENCE = "hitl against automated: accuracy +30.0 points, loss 0.00"


@pytest.fixture
def screen(tmp_path, monkeypatch, capsys):
    """A function that shows a report with this introduction, and returns the screen."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = load()
    (scenario,) = config.hitl.scenarios

    def show(first, metrics):
        sentences = [first.replace("digits", scenario), DIFFERENCE]
        (tmp_path / "report").mkdir(exist_ok=True)
        (tmp_path / "report" / "table.md").write_text(f"{meaning.markdown(sentences)}\n**Every arm**\n\n| a |\n| - |\n")
        (tmp_path / "report" / "metrics.json").write_text(json.dumps({scenario: metrics}))
        last_screen.show(config)
        return capsys.readouterr().out

    return show


def test_it_is_twenty_lines_at_most(screen):
    arms = ("baseline", "automated", "random-mask", "hitl")
    scores = {"test_accuracy": 0.921, "test-shifted_accuracy": 0.5, "min_loss": 0.25}
    said = screen(f"{SENTENCE} On test-shifted:", {arm: dict(scores) for arm in arms})
    assert said.count("\n") <= 20
    assert f"{SENTENCE.removeprefix('digits')}\n" in said
    assert DIFFERENCE not in said
    assert "  hitl                92.1%         50.0%         0.250\n" in said
    for link in ("report/index.html", "http://127.0.0.1:5000/#/experiments/1/runs?", "lookaway server start"):
        assert link in said
    assert "make demo EXPERT=human" in said


def test_without_a_shortcut_the_differences_are_the_result(screen):
    said = screen("digits: with 80 answers from experts, on the test images:", {"hitl": {"test_accuracy": 0.5}})
    assert f"on the test images:\n- {DIFFERENCE}\n" in said
    assert "misled" not in said
    assert "minimum loss" not in said, "no arm has one"


def test_a_server_of_the_team_is_named(screen, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org/")
    said = screen(SENTENCE, {"hitl": {"test_accuracy": 0.5}})
    assert "MLflow        https://mlflow.example.org, experiment lookaway\n" in said
