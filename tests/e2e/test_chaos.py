"""The program of `make chaos`, with a stand-in for DVC: it strikes in every stage, and finds what a kill damages."""

import sys

import pytest
from e2e import chaos

STAND_IN = """
import json, sys, time
from pathlib import Path
folder = Path("runs/x/00")
folder.mkdir(parents=True, exist_ok=True)
for stage in ("prepare", "annotate@x", "train@x", "compare"):
    done, begun = folder / f"{stage}.done", folder / f"{stage}.begun"
    if done.exists():
        continue
    print(f"Running stage '{stage}':", flush=True)
    torn = begun.exists()
    begun.touch()
    time.sleep(0.25)
    if stage == "annotate@x":
        answers = [{"key": "k", "expert": "e", "result": []}]
        (folder / "answers.json").write_text(json.dumps(answers * (2 if torn and FRAGILE else 1)))
    if torn:
        (folder / "torn").touch()
    (folder / "masks.npz").write_text("torn" if (folder / "torn").exists() and FRAGILE else "whole")
    (folder / "history.csv").write_text("x" * 5000)
    done.touch()
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    def use(*, fragile: bool) -> None:
        script = tmp_path / "stand_in.py"
        script.write_text(f"FRAGILE = {fragile}\n{STAND_IN}")
        monkeypatch.setattr(chaos, "REPRO", [sys.executable, str(script)])

    return use


def test_a_run_that_survives_has_no_difference(stand_in, tmp_path):
    stand_in(fragile=False)
    summary = chaos.main(10, seed=14, folder=tmp_path, known={})
    assert (summary["differences"], summary["answers_lost"], summary["answers_double"]) == ([], 0, 0)
    assert summary["kills"] == 10
    assert summary["checkouts"] >= 2
    assert {"prepare", "annotate@x", "train@x"} <= set(summary["stages_hit"])


def test_what_a_kill_damages_is_found(stand_in, tmp_path):
    stand_in(fragile=True)
    summary = chaos.main(10, seed=14, folder=tmp_path, known={})
    assert summary["differences"] == ["runs/x/00/masks.npz"]
    assert summary["answers_double"] >= 1
