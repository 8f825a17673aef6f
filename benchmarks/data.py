"""Reading images: from the prepared array against from the originals."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from benchmarks.measure import Figure, ratio
from pipeline.data import prepared
from pipeline.data.loading import Rows
from pipeline.sources import originals
from pipeline.sources.originals import Original, Originals


def prepared_vs_decode_ratio(count: int = 32, size: int = 224, batch: int = 4) -> Figure:
    """Time to read an epoch of 6-megapixel JPEGs over the time to read it from the prepared array.

    Both end in the same uint8 batches (what follows is the same for both, and not counted). The JPEGs
    are decoded and resized as `prepare` does it, which for large pictures is several times faster than
    decoding them in full; one thread on both sides.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n}.jpg" for n in range(count)]
        rng = np.random.default_rng(0)
        for file in track(files, "drawing 6-megapixel JPEGs", transient=True):
            _photograph(rng).save(file, quality=90)
        rows = [Original(file.stem, file, "a") for file in files]
        items = originals.items(Originals(["a"], rows), size, "stretch")
        prepared.write_arrays(Path(folder) / "prepared", count, size, items)

        order = rng.permutation(count)
        batches = [order[start : start + batch].tolist() for start in range(0, count, batch)]

        def decoded() -> None:
            for some in batches:
                np.stack([originals.picture(files[i], size, "stretch") for i in some])

        def from_array() -> None:
            images = np.load(Path(folder) / "prepared" / "images.npy", mmap_mode="r")
            pixels = Rows(images, np.arange(count))
            for some in batches:
                pixels[some]

        return ratio(decoded, from_array)


def _photograph(rng: np.random.Generator) -> Image.Image:
    """A 3000 x 2000 picture with broad structure and fine grain, as a camera's have."""
    broad = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize((3000, 2000))
    grain = rng.integers(-12, 13, (2000, 3000, 1))
    return Image.fromarray((np.asarray(broad) + grain).clip(0, 255).astype(np.uint8))
