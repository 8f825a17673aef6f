"""Reading images: from their original files against from the prepared array."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from benchmarks.measure import RUNS, Figure, Figures, ratio
from pipeline.data import prepared
from pipeline.data.loading import Rows
from pipeline.sources import originals
from pipeline.sources.source import Original, Originals

BATCH = 4


def prepared_vs_decode_ratio(count: int = 32, size: int = 224, runs: int = RUNS) -> Figure:
    """Time to read an epoch of 6-megapixel JPEGs over the time to read it from the prepared array.

    Both sides end in the same uint8 batches, from where both would do the same. The JPEGs are decoded and resized as
    `prepare` does it, which is several times faster than decoding large pictures in full. Both sides use one thread.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{n}.jpg" for n in range(count)]
        rng = np.random.default_rng(0)
        for file in track(files, "drawing 6-megapixel JPEGs", transient=True):
            _photograph(rng).save(file, quality=90)
        rows = [Original(file.stem, file, "a") for file in files]
        items = originals.items(Originals(["a"], rows), size, "stretch")
        prepared.write_arrays(folder / "prepared", count=count, size=size, items=items)

        order = rng.permutation(count)
        batches = [order[start : start + BATCH].tolist() for start in range(0, count, BATCH)]

        def decode() -> None:
            for batch in batches:
                np.stack([originals.picture(files[i], size, "stretch") for i in batch])

        def read_array() -> None:
            images = np.load(folder / "prepared" / "images.npy", mmap_mode="r")
            pixels = Rows(images, np.arange(count))
            for batch in batches:
                pixels[batch]

        return ratio(decode, read_array, runs)


FIGURES: Figures = {"prepared_vs_decode_ratio": prepared_vs_decode_ratio}


def _photograph(rng: np.random.Generator) -> Image.Image:
    """Return a 3000 x 2000 picture with broad structure and fine grain, as a camera takes it."""
    broad = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize((3000, 2000))
    grain = rng.integers(-12, 13, (2000, 3000, 1))
    return Image.fromarray((np.asarray(broad) + grain).clip(0, 255).astype(np.uint8))
