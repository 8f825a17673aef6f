"""A small prepared data set: two classes, random images, evidence on all images but one."""

import numpy as np

from pipeline.data import prepared
from pipeline.data.prepared import Item

SIZE = 16


def item(number, label, split, evidence=True):
    rng = np.random.default_rng(number)
    mask = rng.random((SIZE, SIZE)) > 0.5 if evidence else None
    return Item(f"i{number}", label, split, rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), mask)


def prepare_items(folder, classes, items):
    table = prepared.write_arrays(folder, count=len(items), size=SIZE, items=iter(items))
    return prepared.write_index(folder, name="x", classes=classes, table=table.assign(id=table["name"]))


def prepare_data_set(folder, train=20):
    """Prepare ``train`` training images and two images of val and test; return all items. Image i3 has no evidence."""
    items = [item(n, "ab"[n % 2], "train", evidence=n != 3) for n in range(train)]
    items += [item(100 + n, "ab"[n % 2], ("val", "test")[n // 2]) for n in range(4)]
    prepare_items(folder, ["a", "b"], items)
    return items
