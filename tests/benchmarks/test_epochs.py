"""The plain loop, with which an epoch is compared, does the same work."""

import pytest

from benchmarks import epochs, method

pytestmark = pytest.mark.slow


def test_the_plain_loop_augments_the_same_pictures():
    images = method.pictures(8, size=32)
    _, loader = epochs.plain_loop(images)
    batches = list(loader)
    assert [tuple(x.shape) for x, _ in batches] == [(4, 3, 32, 32)] * 2
    assert sorted(label for _, labels in batches for label in labels.tolist()) == sorted(images.labels.tolist())
