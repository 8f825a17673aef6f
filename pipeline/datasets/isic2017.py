"""isic2017: dermoscopic images, melanoma against the rest (ISIC 2017 challenge, part 3; CC0).

``root`` holds the challenge's own folders and files:
``ISIC-2017_{Training,Validation,Test_v2}_Data/ISIC_*.jpg``, ``…_Part3_GroundTruth.csv`` (image_id,
melanoma, seborrheic_keratosis) and ``…_Part1_GroundTruth/*_segmentation.png``, the lesion masks
that are the evidence. Official splits. Images are stretched to a square, as the paper does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.config import ConfigError
from pipeline.datasets.prepared import Item

CLASSES = ["benign", "melanoma"]
PARTS = {"train": "Training", "val": "Validation", "test": "Test_v2"}


def table(root: Path) -> pd.DataFrame:
    """id, label and split of every image that has a label; raises ConfigError if files are missing."""
    parts = []
    for split, part in PARTS.items():
        csv = root / f"ISIC-2017_{part}_Part3_GroundTruth.csv"
        folder = root / f"ISIC-2017_{part}_Data"
        if not csv.is_file() or not folder.is_dir():
            raise ConfigError(
                f"isic2017 needs {csv} and {folder}/: download the ISIC 2017 challenge's data (part 3, and "
                f"part 1 for the lesion masks) and set `datasets.isic2017.root` in params.yaml to its folder"
            )
        labels = pd.read_csv(csv)
        labels["split"] = split
        labels["label"] = [CLASSES[int(m)] for m in labels["melanoma"]]
        parts.append(labels.rename(columns={"image_id": "id"})[["id", "label", "split"]])
    rows = pd.concat(parts, ignore_index=True)
    there = [_image_file(root, row.id, row.split).is_file() for row in rows.itertuples()]
    if not all(there):
        print(f"isic2017: {len(there) - sum(there)} of {len(there)} labelled images are not in {root}; left out")
    return rows[there].reset_index(drop=True)


def items(root: Path, rows: pd.DataFrame, size: int) -> Iterator[Item]:
    """Each image of ``table`` at ``size`` x ``size`` pixels, with its lesion mask where there is one."""
    for row in rows.itertuples():
        image = _open(_image_file(root, row.id, row.split)).convert("RGB").resize((size, size))
        mask_file = root / f"ISIC-2017_{PARTS[row.split]}_Part1_GroundTruth" / f"{row.id}_segmentation.png"
        evidence = None
        if mask_file.is_file():
            evidence = np.asarray(_open(mask_file).convert("L").resize((size, size))) > 127
        yield Item(row.id, row.label, row.split, np.asarray(image), evidence)


def _image_file(root: Path, image_id: str, split: str) -> Path:
    return root / f"ISIC-2017_{PARTS[split]}_Data" / f"{image_id}.jpg"


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
        return image
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as an image ({error}); download it again") from error
