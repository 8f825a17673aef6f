"""The prepared form of a data set: decoded once, read by all later stages.

    images.npy     (N, S, S, 3) uint8, RGB, memory-mapped when read
    evidence.npy   (E, S, ceil(S / 8)) uint8, bit-packed along the width: 1 where the evidence is
    index.csv      id, label (see pipeline/data/labels.py), split, group (or empty), row of images.npy, evidence: row of
                   evidence.npy (or empty), and a column for each attribute
    sizes.npy      (N, 2) int32, the width and height of the originals, where each image has one
    manifest.json  the data set's name, class names, counts per split, copies, SHA-256 of the files above

Nothing here tells a patient: ids are digests of the images, groups are numbers. A separate table names the original of
each image and stays on the machine that prepared the data. Arrays are written image by image: N images need the memory
of one image.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data import labels, own_csv
from pipeline.errors import ConfigError, DamagedFileError, DataError, listed, naming_damage

COLUMNS = ["name", "label", "split", "group", "row", "evidence", "digest"]  # of a table of images, before attributes
FILES = ("manifest.json", "index.csv", "sizes.npy", "evidence.npy", "images.npy")
SPLITS = ("train", "val", "test")  # every data set that is trained on has these
TIED = " + "  # between the names of groups that a patient ties together
EXTERNAL = "external-"  # before the name of another data set: all of its images, as one more held-out split
ORDER = (*SPLITS, EXTERNAL[:-1])


def is_split(name: str) -> bool:
    """Return whether this is a split: train, val, test, or a further held-out one such as ``test-site-b``.

    Nothing but ``train`` is trained on or shown to experts, and nothing but ``val`` selects an epoch. A name has no
    underscore, because one stands between split and metric in the names of readings.
    """
    return name in SPLITS or re.fullmatch(r"(val|test)-[^_\s]*[^_\s-]", name) is not None


def in_order(names: Iterable[str]) -> list[str]:
    """Return the splits among these names: train, val, test, each before its further ones, then external sets."""
    splits = {name for name in names if is_split(name) or name.startswith(EXTERNAL)}
    return sorted(splits, key=lambda name: (ORDER.index(name.split("-")[0]), name))


@dataclass(frozen=True)
class Item:
    """One image of a source: ``image`` (S, S, 3) uint8 RGB, ``evidence`` (S, S) bool or None.

    ``name`` is the source's own id; ``split`` is None if the source has no official split.
    """

    name: str
    label: str
    split: str | None
    image: NDArray[np.uint8]
    evidence: NDArray[np.bool_] | None
    group: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None  # of the original, width and height, pixels


@dataclass(frozen=True)
class Prepared:
    """A prepared data set, memory-mapped. ``index`` has one row an image; its column ``row`` points into ``images``.

    ``attributes`` are the names of the index's columns that say more of an image, as text. ``white`` is the value of
    16-bit images that became white, where it is another than 65535. If ``findings`` is true, the classes are findings.
    """

    folder: Path
    classes: list[str]
    index: pd.DataFrame
    images: NDArray[np.uint8]
    digest: str
    attributes: tuple[str, ...] = ()
    white: int | None = None
    findings: bool = False

    def evidence(self, image_id: str) -> NDArray[np.bool_]:
        """Return the evidence of one image, (S, S) bool; raise ConfigError if the image has none."""
        found = self.known_evidence(image_id)
        if found is None:
            raise ConfigError(
                f"image {image_id!r} of {self.folder} has no evidence mask. Fix: give it one, or leave the image out."
            )
        return found

    def known_evidence(self, image_id: str) -> NDArray[np.bool_] | None:
        """Return the evidence of one image, (S, S) bool, or None; raise ConfigError if no image has any."""
        if self.index["evidence"].isna().all():
            raise ConfigError(
                f"no image of {self.folder} has an evidence mask, so simulated experts cannot answer. "
                "Fix: set `annotate.expert: human` in params.yaml."
            )
        row = self.index.loc[self.index["id"] == image_id, "evidence"]
        if row.empty or pd.isna(row.iloc[0]):
            return None
        path, size = self.folder / "evidence.npy", self.images.shape[2]
        with naming_damage(path):
            packed = np.load(path, mmap_mode="r")[int(row.iloc[0])]
            return np.unpackbits(packed, axis=1, count=size).astype(bool).reshape(size, size)

    def original_sizes(self) -> NDArray[np.int32] | None:
        """Return the width and height (N, 2) of the originals, pixels, in the order of the index, where they are known.

        They are no part of the manifest, so data that were prepared before they were recorded stay as they are.
        """
        path = self.folder / "sizes.npy"
        if not path.exists():
            return None
        with naming_damage(path):
            found: NDArray[np.int32] = np.load(path)[self.index["row"]]
            return found


def write_arrays(folder: Path, *, count: int, size: int, items: Iterable[Item]) -> pd.DataFrame:
    """Write images.npy, evidence.npy and sizes.npy; equal evidence is stored once.

    Args:
        folder: The prepared data set's folder.
        count: The number of items.
        size: The side of the square images, pixels.
        items: The images, written one by one.

    Returns:
        One row an item: name, label, split, group, row (of images.npy), evidence (a row of evidence.npy, or None),
        digest (SHA-256 of the image), and the items' attributes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:  # DVC may have linked the old files to its cache, which must not be written to
        (folder / name).unlink(missing_ok=True)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
    packed_width = (size + 7) // 8
    known: dict[bytes, int] = {}  # digest of evidence → its row
    rows, attributes, sizes = [], [], []
    with tempfile.TemporaryFile(dir=folder) as areas:
        for position, item in enumerate(items):
            images[position] = item.image
            evidence = None
            if item.evidence is not None:
                packed = np.packbits(item.evidence, axis=1).tobytes()
                evidence = known.setdefault(hashlib.sha256(packed).digest(), len(known))
                if evidence * size * packed_width == areas.tell():
                    areas.write(packed)
            digest = hashlib.sha256(item.image.tobytes()).hexdigest()
            rows.append((item.name, item.label, item.split, item.group, position, evidence, digest))
            attributes.append(dict(item.attributes))
            sizes.append(item.size)
        images.flush()
        if None not in sizes:
            np.save(folder / "sizes.npy", np.array(sizes, np.int32).reshape(-1, 2))
        areas.seek(0)
        with (folder / "evidence.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(known), size, packed_width)}
            np.lib.format.write_array_header_1_0(file, header)
            shutil.copyfileobj(areas, file)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"evidence": "Int64"})
    return table.join(pd.DataFrame(attributes, index=table.index, dtype=object))


def pseudonyms(table: pd.DataFrame) -> pd.Series:
    """Return an id for each image that tells nothing of its file: the start of its digest, numbered for copies."""
    again = table.groupby("digest").cumcount()
    numbers = again.map(lambda n: f"-{n + 1}" if n else "")
    return table["digest"].str[:12] + numbers


def picture_of(image_id: str) -> str:
    """Return what the ids of all copies of a picture have in common; another id than ``pseudonyms`` gives is itself."""
    return re.sub(r"^([0-9a-f]{12})-\d+$", r"\1", image_id)


def patient_digest(patient: str) -> str:
    """Return the group of a patient whose id is in the header of a file only; the same in every data set."""
    return "patient-" + hashlib.sha256(" ".join(patient.split()).casefold().encode()).hexdigest()[:16]


def copies(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each image that occurs more than once."""
    several = table[table["digest"].duplicated(keep=False)]
    return [rows for _, rows in several.groupby("digest", sort=False)]


def write_index(
    folder: Path,
    *,
    name: str,
    classes: list[str],
    table: pd.DataFrame,
    white: int | None = None,
    findings: bool = False,
) -> dict[str, Any]:
    """Write index.csv and manifest.json. The manifest comes last, with digests of the other files.

    Args:
        folder: The prepared data set's folder.
        name: The data set's name.
        classes: The class names, in the order of the class numbers.
        table: The result of ``write_arrays``, with an id and a split in every row.
        white: The value of 16-bit images that became white, where it is another than 65535.
        findings: Whether the classes are findings.

    Returns:
        The manifest.

    Raises:
        DataError: An id occurs twice, or a class has no image in train, val or test, unless train is empty. A finding
            must also be absent from some image of each.
    """
    has = labels.members(table["label"], classes, findings=findings)
    _check(name, table, labels.kinds(has, findings=findings))
    groups, _ = pd.factorize(table["group"])
    index = table[["id", "label", "split", "row", "evidence"]].copy()
    index.insert(3, "group", pd.Series(groups, index=table.index).astype("Int64").replace(-1, pd.NA))
    attributes = [column for column in table if column not in (*COLUMNS, "id")]
    index = index.join(table[attributes])
    own_csv.write(folder / "index.csv", index)
    counts = has.groupby(index["split"]).sum()
    manifest = {
        "dataset": name,
        "classes": classes,
        **({"findings": True} if findings else {}),
        "counts": {split: {c: int(counts.loc[split, c]) for c in classes} for split in counts.index},
        "copies": [rows["id"].tolist() for rows in copies(table)],
        **({"attributes": attributes} if attributes else {}),
        **({"white": white} if white else {}),
        "sha256": {f: _sha256(folder / f) for f in ("images.npy", "evidence.npy", "index.csv")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def read(folder: Path) -> Prepared:
    """Open a prepared data set; raise DamagedFileError if one of its files is missing or damaged."""
    try:
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(text)
        attributes = tuple(manifest.get("attributes", ()))
        types = dict.fromkeys(("id", "label", "split", *attributes), str) | {"group": "Int64", "evidence": "Int64"}
        text_of_index = own_csv.text_of(folder / "index.csv")
        index = own_csv.read(text_of_index, types=types, may_lack=["group", "evidence", *attributes])
        images = np.load(folder / "images.npy", mmap_mode="r")
        classes, findings = list(manifest["classes"]), bool(manifest.get("findings"))
        index = index[["id", "label", "split", "group", "row", "evidence", *attributes]].astype({"row": int})
        is_whole = images.ndim == 4 and images.dtype == np.uint8 and index["id"].is_unique
        if not is_whole or not labels.names(index["label"], findings=findings) <= set(classes):
            raise ValueError("its files do not fit together")
    except Exception as error:  # damaged files raise errors of many types
        raise DamagedFileError(
            f"{folder} is no whole prepared data set ({error}). Fix: run `dvc repro` to prepare it again."
        ) from error
    if not index["row"].between(0, len(images) - 1).all():
        raise DamagedFileError(
            f"{folder}/index.csv names images that images.npy does not have. Fix: prepare the data set again with "
            f"`dvc repro --force --single-item prepare@{folder.name}`."
        )
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Prepared(folder, classes, index, images, digest, attributes, manifest.get("white"), findings)


def _check(name: str, index: pd.DataFrame, kinds: Mapping[str, pd.Series]) -> None:
    twice = index.loc[index["id"].duplicated(), "id"].tolist()
    if twice:
        raise DataError(
            f"data set {name!r}: {len(twice)} ids occur twice. Fix: give each image a name of its own:\n{listed(twice)}"
        )
    if "train" not in set(index["split"]):
        print(f"{name}: there are no training images, so that scenarios can name it as `external` only", flush=True)
        return
    lacking = []
    for kind, members in kinds.items():
        counts = index.loc[members, "split"].value_counts()
        there = ", ".join(f"{counts[split]} {split}" for split in in_order(counts.index)) or "none"
        lacking += [f"no {split} image {kind}; there are {there}" for split in SPLITS if split not in counts]
    if lacking:
        raise DataError(
            f"data set {name!r} lacks images of classes. Fix: add such images, or move some of them into the split. "
            "If the splits are drawn, a larger `held_out` or another `split_seed` may do:\n"
            f"{listed(lacking)}"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
