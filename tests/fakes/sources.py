"""Helpers for tests of the sources: settings as params.yaml has them, random images, and edited tables."""

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import TypeAdapter

from pipeline.config import Dataset
from pipeline.sources import registry


def settings(root, source, **more):
    return TypeAdapter(Dataset).validate_python({"source": source, "root": str(root), "size": 32, **more})


def read(root, source, **more):
    return registry.read(settings(root, source, **more))


def draw(path, seed=0, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def labels(found):
    return {row.name: row.label for row in found.rows}


def edit(csv, change):
    """Change a table on disk; ``change`` gets it as text cells."""
    table = pd.read_csv(csv, dtype=str)
    change(table).to_csv(csv, index=False)
