"""The prepared form of every data set: decoded once, read by all later stages.

    images.npy     (N, S, S, 3) uint8, RGB, memory-mapped when read
    evidence.npy   (E, S, ceil(S / 8)) uint8, bit-packed along the width: 1 where the evidence is
    index.csv      id, label, split, evidence (a row of evidence.npy, or empty); row i is image i
    manifest.json  the data set's name, class names, counts per split, SHA-256 of the files above

Written row by row: N images need the memory of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config import ConfigError

SPLITS = ("train", "val", "val-shifted", "test", "test-shifted")


@dataclass(frozen=True)
class Item:
    """One image of a source: ``image`` (S, S, 3) uint8 RGB, ``evidence`` (S, S) bool or None."""

    id: str
    label: str
    split: str
    image: NDArray[np.uint8]
    evidence: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Prepared:
    """A prepared data set, memory-mapped. ``index`` has one row per image, in image order."""

    folder: Path
    classes: list[str]
    index: pd.DataFrame
    images: NDArray[np.uint8]
    digest: str

    def evidence(self, image_id: str) -> NDArray[np.bool_]:
        """Where the evidence of one image is, (S, S) bool; raises ConfigError if it has none."""
        row = self.index.loc[self.index["id"] == image_id, "evidence"]
        if row.empty or pd.isna(row.iloc[0]):
            raise ConfigError(
                f"image {image_id!r} of {self.folder} has no evidence mask, so a simulated expert cannot "
                "answer; set `annotate.expert: human` in params.yaml"
            )
        packed = np.load(self.folder / "evidence.npy", mmap_mode="r")[int(row.iloc[0])]
        return np.unpackbits(packed, axis=1, count=self.images.shape[2]).astype(bool)


def write(folder: Path, name: str, classes: list[str], count: int, size: int, items: Iterable[Item]) -> None:
    """Write ``count`` items of ``size`` pixels; the manifest comes last, so it vouches for the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
    rows: list[dict[str, str]] = []
    evidence: list[NDArray[np.uint8]] = []
    for position, item in enumerate(items):
        images[position] = item.image
        row = ""
        if item.evidence is not None:
            row = str(len(evidence))
            evidence.append(np.packbits(item.evidence, axis=1))
        rows.append({"id": item.id, "label": item.label, "split": item.split, "evidence": row})
    images.flush()
    packed = np.stack(evidence) if evidence else np.zeros((0, size, (size + 7) // 8), np.uint8)
    np.save(folder / "evidence.npy", packed)
    index = pd.DataFrame(rows)
    index.to_csv(folder / "index.csv", index=False)
    _check(name, classes, index)
    counts = index.groupby(["split", "label"]).size().unstack(fill_value=0)
    manifest = {
        "dataset": name,
        "classes": classes,
        "counts": {split: {c: int(counts.loc[split].get(c, 0)) for c in classes} for split in counts.index},
        "sha256": {f: _sha256(folder / f) for f in ("images.npy", "evidence.npy", "index.csv")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Prepared:
    """Open a prepared data set; raises ConfigError if it is not there or not whole."""
    try:
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(text)
        index = pd.read_csv(folder / "index.csv", dtype={"id": str, "label": str, "split": str})
        images = np.load(folder / "images.npy", mmap_mode="r")
        classes = list(manifest["classes"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder} is not a prepared data set ({error}); run `dvc repro` to prepare it") from error
    if len(images) != len(index):
        raise ConfigError(f"{folder}: {len(images)} images but {len(index)} index rows; run `dvc repro --force`")
    return Prepared(folder, classes, index, images, hashlib.sha256(text.encode()).hexdigest())


def _check(name: str, classes: list[str], index: pd.DataFrame) -> None:
    twice = index.loc[index["id"].duplicated(), "id"].tolist()
    if twice:
        raise ConfigError(f"data set {name!r} has ids that occur twice: {', '.join(twice[:10])}")
    for split in ("train", "val", "test"):
        missing = set(classes) - set(index.loc[index["split"] == split, "label"])
        if missing:
            raise ConfigError(f"data set {name!r} has no {split} image of class {', '.join(sorted(missing))}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
