"""The demo's loop on other networks, by settings only: baseline, queries, masks, masked training, attention."""

import re

import numpy as np
import pytest
import torch
import yaml
from e2e.project import SCENARIO, environment_for, repro, tiny_project
from fakes import small, tiny_networks  # noqa: F401  # registers its networks

from pipeline.arms.baseline import train_baseline
from pipeline.config import Backbone, Explain, FeedbackSettings, QuerySettings
from pipeline.data.loading import Images
from pipeline.evaluation import attention
from pipeline.models import backbones, files
from pipeline.query.selection import choose
from pipeline.training import trainer

SIDE = 32  # pixels


def pictures(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return Images([f"image-{n}" for n in range(count)], pixels, torch.arange(count) % 2)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["test_vit", "tiny_swin", "mobilenetv3_small_050", "tiny_resnet_gn"])
def test_a_network_runs_the_demos_loop(architecture, tmp_path):
    stored = backbones.pretrained("x", Backbone(architecture=architecture, weights="random"), seed=0)
    files.write(stored, tmp_path / "init.pt")
    settings = small.scenario(FeedbackSettings()).model_copy(update={"init": str(tmp_path / "init.pt")})
    images = {"train": pictures(6), "val": pictures(2)}
    state, history = train_baseline(images, settings, ["a", "b"], seed=0)
    (tmp_path / "images").mkdir()
    asked = QuerySettings(strategy="entropy", cell=8, proposals=4)
    queries = choose(state, images["train"], asked={}, count=2, settings=asked, seed=0, folder=tmp_path)
    assert [len(query.proposals) for query in queries] == [4, 4]
    masks = {}
    for query in queries:
        masks[query.image_id] = np.zeros((SIDE, SIDE), np.float32)
        for p in query.proposals[:2]:
            masks[query.image_id][p.y : p.y + p.height, p.x : p.x + p.width] = 1
    after = trainer.train(state, images, settings, seed=0, epochs=1, step="00", masks=masks)
    assert float(after["penalty"].iloc[0]) > 0
    assert np.isfinite([*history["train_loss"], *after["train_loss"]]).all()
    found = attention.measure(state, images=images["train"], areas=masks, name="marked", settings=Explain())
    assert set(found) == {"marked_gradient", "marked_deeplift", "marked_grad-cam"}
    assert all(0 < share < 1 for share in found.values())


@pytest.mark.slow
def test_dvc_repro_trains_a_vit_on_answers_by_params_alone(fake, tmp_path):
    tiny_project(tmp_path)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["backbones"] = {"efficientnet-lite0": {"architecture": "test_vit", "weights": "random"}}
    params["scenarios"][SCENARIO]["query"]["random_share"] = 0.5  # a new ViT looks at the digits alone
    params["hitl"] |= {"last": "00", "rounds": params["hitl"]["rounds"][:1]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    said = repro(tmp_path, environment_for(fake), f"hitl-train@{SCENARIO}-round0")
    assert re.search(r"penalty: [1-9]\d* images with a mask, .* route fast", said)
    stored = files.read(tmp_path / "runs" / SCENARIO / "00" / "state.pt")
    assert (stored["architecture"], stored["size"]) == ("test_vit", 48)
