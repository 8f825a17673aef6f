"""Twelve random images, half of them masked: what the forms of feedback are trained on."""

import pytest
from fakes import small


@pytest.fixture
def data():
    images = small.images(12)
    return {"train": images, "val": images}


@pytest.fixture
def masks(data):
    return small.upper_half_masked(data["train"], 6)
