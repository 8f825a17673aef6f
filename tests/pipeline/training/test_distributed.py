"""Two processes come to what one comes to: gradients, scores, queries, explanations, and the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes.checkout import ROOT

WORK = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from pipeline import training
from pipeline.config import Augment, Backbone, Explain, Penalty, QuerySettings, Train
from pipeline.explain import explain
from pipeline.loading import Images
from pipeline.model import build, pretrained
from pipeline.stages import query_export

torch.set_num_threads(1)
penalty = json.loads(sys.argv[1])
settings = Train(
    baseline_epochs=1, learning_rate=0.001, batch_size=5, batchnorm="settled",
    augment=Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1),
)
rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
images = Images([f"image-{n}" for n in range(11)], pixels, torch.arange(11) % 2)
mask = np.zeros((32, 32), np.float32)
mask[:16] = 1
masks = dict.fromkeys(images.ids[:6], mask)
torch.manual_seed(0)
weights = pretrained("x", Backbone(architecture="tf_efficientnet_lite0", weights="random"), seed=0)
state = training.begin(build(weights, ["no", "yes"]), settings)

steps = []
state.optimizer.optimizer.register_step_post_hook(
    lambda *_: steps.append(torch.cat([p.grad.flatten() for p in state.model.parameters()]).double())
)
feedback = training.feedback_on(state, images, Penalty(**penalty), masks)
row = training.train_epoch(state, images, settings, 0, freeze_batchnorm=True, feedback=feedback)
first = steps[0]
# From here on with the weights of the start again, so that rounding of the first steps plays no part.
torch.manual_seed(0)
state = training.begin(build(weights, ["no", "yes"]), settings)
training.settle_batchnorm(state, images)
buffers = torch.cat([b.flatten().double() for b in state.model.network.buffers()])
scores = training.logits(state, images.pixels)
maps = explain(state, images.pixels[:5], images.labels[:5], Explain())
folder = Path(sys.argv[2])
(folder / "images").mkdir(exist_ok=True)
query = QuerySettings(strategy="entropy", cell=8, proposals=4)
manifest = query_export.export(state, images, [], "s", "00", 4, query, 0, folder)
if state.accelerator.is_main_process:
    np.savez(folder / "found.npz", gradient=first, buffers=buffers, scores=scores, maps=maps)
    manifest.write(folder / "queries.json")
    (folder / "row.json").write_text(json.dumps([row, state.accelerator.num_processes]))
"""
PENALTIES = [
    {"form": "eq2", "output": "logits", "weight": 1.0},
    {"form": "share", "output": "projection", "weight": 3.0, "sample": 2},
]


def found(folder: Path, penalty, launcher: list[str]):
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    command = [sys.executable, *launcher, str(folder / "work.py"), json.dumps(penalty), str(folder)]
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


@pytest.mark.parametrize("penalty", PENALTIES, ids=["eq2", "share"])
def test_two_processes_come_to_the_gradient_scores_and_explanations_of_one(tmp_path, penalty):
    alone, row, processes, queries, pictures = found(tmp_path / "one", penalty, [])
    assert processes == 1
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    together, same_row, processes, same_queries, same_pictures = found(tmp_path / "two", penalty, torchrun)
    assert processes == 2
    for name, value in alone.items():
        difference = np.linalg.norm(value - together[name]) / np.linalg.norm(value)
        assert difference < 1e-5, name
    assert same_row == pytest.approx(row, rel=1e-4)
    assert same_queries == queries
    assert same_pictures == pictures
