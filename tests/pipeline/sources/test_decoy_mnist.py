"""decoy-mnist: the square tells the class in training, and nothing in the shifted splits."""

import numpy as np
import pytest

from pipeline.config import DecoyMnist
from pipeline.errors import DataError
from pipeline.sources import decoy_mnist


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """MNIST's layout with few digits: 40 to train on, 20 to test."""
    monkeypatch.setattr(decoy_mnist, "VAL", 10)
    rng = np.random.default_rng(0)
    counts = {"train": 40, "test": 20}
    arrays = {f"x_{part}": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in counts.items()}
    arrays |= {f"y_{part}": np.arange(n, dtype=np.uint8) % 10 for part, n in counts.items()}
    np.savez(tmp_path / "mnist.npz", **arrays)
    return arrays, DecoyMnist(source="decoy-mnist", root=str(tmp_path / "mnist.npz"))


def corner_of(item):
    """The corner that all of one grey is in, and that grey."""
    greys = [np.unique(item.image[corner]) for corner in decoy_mnist.CORNERS]
    (found,) = [n for n, grey in enumerate(greys) if len(grey) == 1]
    return found, int(greys[found][0])


def test_the_square_tells_the_class_in_training_and_nothing_where_it_is_shifted(mnist):
    arrays, settings = mnist
    items = list(decoy_mnist.read(settings).items)
    splits = [item.split for item in items]
    assert {s: splits.count(s) for s in splits} == {
        "train": 30, "val": 10, "val-shifted": 10, "test": 20, "test-shifted": 20
    }  # fmt: skip
    told = {item.name: corner_of(item)[1] == 255 - 25 * int(item.label) for item in items}
    assert all(told[i.name] for i in items if "shifted" not in i.split)
    assert 0 < sum(told[i.name] for i in items if "shifted" in i.split) < 15
    assert len({corner_of(item)[0] for item in items}) == 4
    for item in items:
        part, number = item.name.removesuffix("-shifted").split("-")
        inside = item.evidence
        np.testing.assert_array_equal(
            item.image[inside], np.repeat(arrays[f"x_{part}"][int(number)][inside], 3).reshape(-1, 3)
        )
        assert (~item.evidence).sum() == 4 * 16
    again = list(decoy_mnist.read(settings).items)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(items, again, strict=True))


def test_missing_mnist_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(
        DataError, match=r"mnist\.npz is missing, or is not MNIST .*download https.*tf-keras-datasets/mnist\.npz"
    ):
        list(decoy_mnist.items(tmp_path / "mnist.npz"))
