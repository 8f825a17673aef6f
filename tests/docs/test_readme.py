"""README.md: its length, its links, its code, and its settings."""

import re

import numpy as np
import pytest
import torch
import yaml
from docs.english import ROOT
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline.config import Config, Folder

README = (ROOT / "README.md").read_text(encoding="utf-8")
SIDE = 32


def code(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_it_is_short():
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_has_a_target(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_its_folders_exist():
    (tree,) = re.findall(r"## The code\n\n(.*?)\n\n", README, flags=re.DOTALL)
    for line in tree.splitlines():
        places = re.split(r"\s{2,}", line.strip())[0]
        root, _, first = places.partition("/") if places.startswith("pipeline/") else ("", "", places)
        for folder in re.findall(r"\w+", first):
            assert (ROOT / root / folder).is_dir(), folder


@pytest.mark.filterwarnings("error")
def test_its_library_code_runs():
    (block,) = code("python")
    assert len([line for line in block.splitlines() if line]) <= 8
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2))

    def expert(pictures, shown):
        assert [len(proposals) for proposals in shown] == [10] * len(pictures)
        w = torch.zeros(len(pictures), SIDE, SIDE)
        w[:, :8, :8] = 1
        return w

    names = {
        "model": model,
        "pictures": pictures,
        "x": torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 128 - 1,
        "y": torch.tensor([0, 1, 0, 1]),
        "expert": expert,
        "cross_entropy": cross_entropy,
    }
    exec(block, names)
    assert names["loss"] > cross_entropy(model(names["x"]), names["y"])
    names["loss"].backward()
    assert all(parameter.grad.norm() > 0 for parameter in model.parameters())


def test_its_settings_for_own_images_are_valid():
    (block,) = code("yaml")
    assert len(block.strip().splitlines()) <= 12
    committed = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(committed)
    own = yaml.safe_load(
        committed + block.replace("datasets:", "own-datasets:").replace("scenarios:", "own-scenarios:", 1)
    )
    params["datasets"] |= own["own-datasets"]
    params["scenarios"] |= own["own-scenarios"]
    params["hitl"]["scenarios"] = own["hitl"]["scenarios"]
    config = Config.model_validate(params)
    assert isinstance(config.datasets["lesions"], Folder)
    assert config.hitl.scenarios == ["lesions-50pct"]
