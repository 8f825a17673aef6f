"""The penalty on a late layer: the masked share of its Grad-CAM map, alive, at the cost of a plain step."""

import pytest
import torch
from fakes import small
from torch import nn

from pipeline.errors import NetworkError
from pipeline.feedback.check import check
from pipeline.feedback.penalty import penalty

LATE = {"form": "late", "output": "predicted"}


class Pooled(nn.Module):
    """Two channels that show the image itself and its negative, averaged, and a last layer that reads them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        self.features.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.tensor([[3.0, 1.0], [0.0, 0.0]])

    def forward(self, x):
        return self.head(self.features(x).mean(dim=(2, 3)))


def test_it_is_the_share_of_the_maps_energy_inside_the_mask():
    x = torch.tensor([[2.0, 1.0], [1.0, 1.0]]).reshape(1, 1, 2, 2)
    w = torch.zeros(1, 2, 2)
    w[0, 0, 0] = 1
    found = penalty(Pooled(), x, w, **LATE)  # the map is (3 - 1) / 4 of the image
    assert found.tolist() == pytest.approx([4 / (4 + 1 + 1 + 1)])
    assert penalty(Pooled(), x, torch.ones(1, 2, 2), **LATE).tolist() == pytest.approx([1])


def test_a_fine_mask_is_averaged_over_the_places_of_the_layer():
    network = nn.Sequential(nn.AvgPool2d(4), Pooled())
    x, w = torch.ones(1, 1, 8, 8), torch.zeros(1, 8, 8)
    w[0, :4, :2] = 1  # half of one of four places
    assert penalty(network, x, w, **LATE).tolist() == pytest.approx([1 / 8])


def test_it_is_alive_and_both_routes_agree():
    images = small.images(4)
    x = torch.from_numpy(images.pixels).permute(0, 3, 1, 2) / 255
    w = torch.zeros(4, small.SIZE, small.SIZE)
    w[:, : small.SIZE // 2] = 1
    found = check(small.network(["a", "b"]), x, w, form="late", output="predicted")
    assert found.norm > 0
    assert found.fast


def test_nothing_below_the_layer_is_differentiated_twice():
    network = small.network(["a", "b"])
    x, w = torch.rand(2, 3, small.SIZE, small.SIZE), torch.ones(2, small.SIZE, small.SIZE)
    w[:, :8] = 0
    stem = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    passes = []
    stem.register_full_backward_hook(lambda *_: passes.append(1))
    found = penalty(network, x, w, **LATE)
    assert not passes
    found.sum().backward()
    assert len(passes) == 1


def test_a_network_without_such_a_layer_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with pytest.raises(NetworkError, match="needs a layer that returns"):
        penalty(network, torch.rand(1, 3, 4, 4), torch.ones(1, 4, 4), **LATE)
