"""A data set of findings in the style of public ones: a CSV with a column of 0 and 1 a finding, and small PNGs.

A bright disk is the finding `disk`, a bright bar is the finding `bar`, and a bright corner says nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

SIZE, FINDINGS = 48, ["disk", "bar"]


def settings(root: Path, **more: Any) -> dict[str, Any]:
    """Return how params.yaml has the data set in this folder."""
    return {"source": "folder", "root": str(root), "size": SIZE, "table": "findings.csv", "findings": FINDINGS, **more}


def write_images(root: Path, count: int = 60, first: int = 0) -> pd.DataFrame:
    """Write images, masks and the table, and return the table; three in eight have a disk, half have a bar."""
    rows = []
    for n in range(first, first + count):
        rng = np.random.default_rng(n)
        pixels = rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
        disk, bar = n % 8 in (0, 3, 5), n % 2
        y, x = np.indices((SIZE, SIZE))
        evidence = np.zeros((SIZE, SIZE), bool)
        for there, area in ((disk, (y - 14) ** 2 + (x - 14) ** 2 < 64), (bar, (y > 30) & (y < 38) & (x > 16))):
            pixels[area] += np.uint8(150 * there)
            evidence |= area
        pixels[-8:, :8] += np.uint8(150 * (n % 3 == 0))
        for folder, picture in (("images", pixels), ("masks", evidence.astype(np.uint8) * 255)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / folder / f"{n:03}.png")
        rows.append([f"images/{n:03}.png", f"masks/{n:03}.png", int(disk), int(bar)])
    table = pd.DataFrame(rows, columns=["image", "mask", *FINDINGS])
    table.to_csv(root / "findings.csv", index=False)
    return table
