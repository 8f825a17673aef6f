"""Two processes come to what one comes to: gradients, scores, queries, explanations, and the same files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from fakes.checkout import ROOT

pytestmark = pytest.mark.slow

WORK = ROOT / "tests" / "fakes" / "two_processes.py"
FEEDBACK = {
    "eq2": {"form": "eq2", "output": "logits", "weight": 1.0},
    "share": {"form": "share", "output": "projection", "weight": 3.0, "sample": 2},
    "counterexamples": {"form": "counterexamples", "fill": "another", "share": 0.7},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of what one process found, and of what two found, a folder for each form of feedback."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    for folder, launcher in zip(folders, ([], torchrun), strict=True):
        command = [sys.executable, *launcher, str(WORK), json.dumps(list(FEEDBACK.values())), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    return folders


def found(folder):
    row, processes = json.loads((folder / "row.json").read_text())
    with np.load(folder / "found.npz") as arrays:
        return (
            dict(arrays),
            row,
            processes,
            (folder / "queries.json").read_text(),
            sorted(p.name for p in (folder / "images").iterdir()),
        )


@pytest.mark.parametrize("form", FEEDBACK)
def test_two_processes_come_to_the_gradient_scores_and_explanations_of_one(runs, form):
    number = str(list(FEEDBACK).index(form))
    alone, row, processes, queries, pictures = found(runs[0] / number)
    assert processes == 1
    together, same_row, processes, same_queries, same_pictures = found(runs[1] / number)
    assert processes == 2
    for name, value in alone.items():
        difference = np.linalg.norm(value - together[name]) / np.linalg.norm(value)
        assert difference < 1e-5, name
    assert same_row == pytest.approx(row, rel=1e-4)
    assert same_queries == queries
    assert same_pictures == pictures
