"""Figures that can be had in a moment, on few images: each measures what it says."""

import pytest

from benchmarks import epochs, memory, method


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(method, "SIZE", 32)


def test_a_mask_takes_hundreds_of_bytes():
    assert memory.mask_memory_mb_nci(images=200).median <= 50


def test_waiting_is_a_share_of_an_epoch():
    share = epochs.waiting_for_data_share(count=8)
    assert 0 <= share.low <= share.median <= share.high < 1


def test_the_plain_loop_augments_the_same_pictures():
    images = method.pictures(8)
    _, loader = epochs._plain(images)
    batches = list(loader)
    assert [tuple(x.shape) for x, _ in batches] == [(4, 3, 32, 32)] * 2
    assert sorted(label for _, labels in batches for label in labels.tolist()) == sorted(images.labels.tolist())
