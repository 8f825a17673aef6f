"""Two processes come to what one comes to: gradients, scores, queries, explanations, and the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes.checkout import ROOT

pytestmark = pytest.mark.slow

WORK = ROOT / "tests" / "fakes" / "two_processes.py"
FEEDBACK = [
    {"form": "eq2", "output": "logits", "weight": 1.0},
    {"form": "share", "output": "projection", "weight": 3.0, "sample": 2},
    {"form": "counterexamples", "fill": "another", "share": 0.7},
]


def found(folder: Path, feedback, launcher: list[str]):
    folder.mkdir()
    command = [sys.executable, *launcher, str(WORK), json.dumps(feedback), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    row, processes = json.loads((folder / "row.json").read_text())
    with np.load(folder / "found.npz") as arrays:
        return (
            dict(arrays),
            row,
            processes,
            (folder / "queries.json").read_text(),
            sorted(p.name for p in (folder / "images").iterdir()),
        )


@pytest.mark.parametrize("feedback", FEEDBACK, ids=["eq2", "share", "counterexamples"])
def test_two_processes_come_to_the_gradient_scores_and_explanations_of_one(tmp_path, feedback):
    alone, row, processes, queries, pictures = found(tmp_path / "one", feedback, [])
    assert processes == 1
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    together, same_row, processes, same_queries, same_pictures = found(tmp_path / "two", feedback, torchrun)
    assert processes == 2
    for name, value in alone.items():
        difference = np.linalg.norm(value - together[name]) / np.linalg.norm(value)
        assert difference < 1e-5, name
    assert same_row == pytest.approx(row, rel=1e-4)
    assert same_queries == queries
    assert same_pictures == pictures
