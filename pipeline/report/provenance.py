"""The origin of a result: the commit of the code and the digest of the data."""

from __future__ import annotations

import json
import subprocess

from pipeline.errors import naming_damage
from pipeline.paths import prepared_dir


def commit() -> str:
    """Return the Git commit that is checked out, or `not in Git`."""
    done = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not in Git"


def data(dataset: str) -> str:
    """Return the SHA-256 of the images of a prepared data set; raises DamagedFileError if it is not there."""
    path = prepared_dir(dataset) / "manifest.json"
    with naming_damage(path):
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"]["images.npy"])
