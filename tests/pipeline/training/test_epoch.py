"""An epoch refuses labels and networks from which nothing can be learned, before it changes anything."""

import pytest
import torch
from fakes import small

from pipeline.errors import NetworkError
from pipeline.training import states
from pipeline.training.epoch import train_epoch


@pytest.fixture
def state():
    return states.begin(small.network(["a", "b"]), small.TRAIN)


def epoch(state, images):
    return train_epoch(state, images, small.TRAIN, seed=0, freeze_batchnorm=False)


@pytest.mark.parametrize("wrong", [-100, -1, 2])
def test_labels_that_are_no_class_are_refused(state, wrong):
    images = small.images(4)
    images.labels[3] = wrong
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    with pytest.raises(ValueError, match=rf"labels must be class numbers from 0 to 1, but there is {wrong}\. Fix: "):
        epoch(state, images)
    assert all(torch.equal(before[key], value) for key, value in state.model.state_dict().items())


def test_a_single_logit_is_refused():
    images = small.images(4)
    images.labels[:] = 0
    with pytest.raises(ValueError, match="cross-entropy and metrics need two logits or more"):
        epoch(states.begin(small.network(["a"]), small.TRAIN), images)


def test_a_frozen_network_is_refused(state):
    state.model.requires_grad_(False)
    with pytest.raises(NetworkError, match=r"no weight of Classifier learns\. Fix: set `requires_grad_\(True\)`"):
        epoch(state, small.images(4))
