"""Random numbers that belong to one image: they depend on nothing that happens to other images."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_of(image: bytes, seed: int) -> np.random.Generator:
    """Return the generator of one image, named by its id or its pixels, for one seed."""
    return np.random.default_rng([seed, int(hashlib.sha256(image).hexdigest()[:12], 16)])
