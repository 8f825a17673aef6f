"""docs/own-loop.md, run as it stands on a small network of somebody else's."""

import re

import numpy as np
import pytest
import torch
from fakes.checkout import ROOT
from torch import nn

from labelstudio.exchange import regions
from pipeline.feedback.penalty import penalty

DOC = ROOT / "docs" / "own-loop.md"
SIDE = 32


class Network(nn.Module):
    """Functional activations, a residual, a product: nothing of it is ours or timm's."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 8)
        self.head = nn.Linear(8 * 16, 2)

    def forward(self, x):
        x = nn.functional.gelu(self.stem(x))
        x = x + torch.relu(self.body(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.head(nn.functional.adaptive_avg_pool2d(x, 4).flatten(1))


@pytest.mark.filterwarnings("error")
def test_the_documented_loop_runs_and_makes_the_network_look_away():
    loop, imports = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), flags=re.S)
    assert len(loop.strip().splitlines()) <= 16
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3), dtype=np.uint8)
    model = Network()

    def expert(picture, proposals):
        """The left half must not matter."""
        left = np.zeros((SIDE, SIDE), bool)
        left[:, : SIDE // 2] = True
        shown = sum((regions.pixels(p, SIDE, SIDE) for p in proposals), np.zeros((SIDE, SIDE), bool))
        return (left & shown).astype(np.float32)

    names = {
        "model": model,
        "pictures": pictures,
        "images": torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 128 - 1,
        "labels": torch.arange(60) % 2,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.003),
        "expert": expert,
    }
    exec(imports, names)
    exec(loop, names)

    def share():
        return float(penalty(model, names["x"], names["w"], "share", "log-probs").detach().mean())

    before = share()
    assert all(1 <= len(found) <= 10 for found in names["shown"])
    for _ in range(10):
        exec(loop[loop.index("for batch") :], names)
    assert share() < 0.7 * before
