"""Where a result comes from: the code's commit and the data's digest."""

from __future__ import annotations

import json
import subprocess

from pipeline.paths import prepared_dir


def commit() -> str:
    """The Git commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not in Git"


def data(dataset: str) -> str:
    """The SHA-256 of a prepared data set's images."""
    manifest = json.loads((prepared_dir(dataset) / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["sha256"]["images.npy"])
