"""The program of test_distributed, run as one process and as two: gradients, scores, explanations, queries.

Its arguments are a JSON list of forms of feedback, and a folder, in which each form gets a folder by its number.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import Augment, Backbone, Explain, FeedbackSettings, Penalty, QuerySettings, Scenario, Train
from pipeline.data.loading import Images
from pipeline.feedback.counterexamples import Counterexamples
from pipeline.models.backbones import pretrained
from pipeline.models.classifier import build
from pipeline.query.explanations import explain
from pipeline.query.selection import select
from pipeline.training import inference, states, trainer
from pipeline.training.epoch import train_epoch

SETTINGS = Train(
    baseline_epochs=1,
    learning_rate=0.001,
    batch_size=5,
    batchnorm="settled",
    augment=Augment(flip=True, rotate_degrees=180.0, crop=0.1, brightness=0.1),
)
SCENARIO = Scenario(
    dataset="s",
    fraction=1.0,
    init="none",
    train=SETTINGS,
    penalty=Penalty(form="eq2", output="ce", weight=1.0),
    query=QuerySettings(strategy="entropy", cell=8, proposals=4),
)


def started() -> states.State:
    """The network with the weights of the start."""
    torch.manual_seed(0)
    weights = pretrained("x", Backbone(architecture="test_efficientnet", weights="random"), seed=0)
    return states.begin(build(weights, ["no", "yes"]), SETTINGS)


def run(given: dict[str, Any], images: Images, folder: Path) -> None:
    """Train an epoch with this feedback on half of the images, read a network at its start, and write all of it."""
    mask = np.zeros((32, 32), np.float32)
    mask[:16] = 1
    masks = dict.fromkeys(images.ids[:6], mask)
    state, steps = started(), []
    state.optimizer.optimizer.register_step_post_hook(
        lambda *_: steps.append(torch.cat([p.grad.flatten() for p in state.model.parameters()]).double())
    )
    if given["form"] == "counterexamples":
        feedback = Counterexamples(masks, FeedbackSettings(**given), images)
    else:
        feedback = trainer.feedback_on(state, images, Penalty(**given), masks)
    row = train_epoch(state, images, SETTINGS, seed=0, freeze_batchnorm=True, feedback=feedback)
    # From here on with the weights of the start again, so that rounding of the first steps plays no part.
    state = started()
    trainer.settle_batchnorm(state, images)
    buffers = torch.cat([b.flatten().double() for b in state.model.network.buffers()])
    scores = inference.logits(state, images.pixels)
    maps = explain(state, images.pixels[:5], target=images.labels[:5], settings=Explain())
    (folder / "images").mkdir(parents=True, exist_ok=True)
    manifest = select(
        state, images, entries=[], scenario="s", round="00", count=4, settings=SCENARIO, seed=0, folder=folder
    )
    if state.accelerator.is_main_process:
        np.savez(folder / "found.npz", gradient=steps[0], buffers=buffers, scores=scores, maps=maps)
        manifest.write(folder / "queries.json")
        (folder / "row.json").write_text(json.dumps([row, state.accelerator.num_processes]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    images = Images([f"image-{n}" for n in range(11)], pixels, torch.arange(11) % 2)
    for number, given in enumerate(json.loads(sys.argv[1])):
        run(given, images, Path(sys.argv[2], str(number)))
