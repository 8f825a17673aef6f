"""A data set whose files name patients, and a search for these names in whatever else there is."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fakes import dicom

SIZE, IMAGES = 48, 40  # the images' side in pixels; how many there are
SURNAMES = ["Quillfeather", "Zwölfpfennig", "Abernathy-Oyelaran", "Þorvaldsdóttir"]


def settings(root: Path) -> dict[str, Any]:
    """Return how params.yaml has the data set in this folder."""
    columns = {"group": "patient"}
    return {"source": "folder", "root": str(root), "size": SIZE, "table": "table.csv", "columns": columns}


def write_images(root: Path, first: int = 0) -> None:
    """Write photographs with a table of their classes, patients and evidence; names are in paths, cells and headers.

    Every fourth image is DICOM. ``first`` is the first image's number, on which pictures and patients depend.
    """
    rng, rows = np.random.default_rng(first), []
    for n in range(first, first + IMAGES):
        surname, label = SURNAMES[n % len(SURNAMES)], ("benign", "malignant")[n % 2]
        pixels = rng.integers(0, 80, (SIZE, SIZE, 3), dtype=np.uint8)
        pixels[8:24, 8:24] += np.uint8(120 * (n % 2))
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:24, 8:24] = 255
        patient, kind = f"{surname}^Jo{n // 3}", "dcm" if n % 4 == 0 else "png"
        exif = Image.Exif()
        exif[0x010E], exif[0x013B] = f"portrait of {surname}^Jo", surname  # ImageDescription, Artist
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if kind == "dcm":
            header = {"PatientName": patient, "InstitutionName": f"{surname} Clinic", "StudyDescription": surname}
            dicom.write(
                root / f"images/{surname}_{n}.dcm",
                pixels,
                SpecificCharacterSet="ISO_IR 192",
                PatientID=patient,
                **header,
            )
        else:
            Image.fromarray(pixels).save(root / f"images/{surname}_{n}.png", exif=exif)
        Image.fromarray(mask).save(root / f"masks/{surname}_{n}.png", exif=exif)
        rows.append([f"images/{surname}_{n}.{kind}", label, patient, f"masks/{surname}_{n}.png"])
    random.Random(0).shuffle(rows)
    pd.DataFrame(rows, columns=["image", "label", "patient", "mask"]).to_csv(root / "table.csv", index=False)


def named(content: bytes) -> list[str]:
    """Return the surnames in a file's content, in the usual encodings and escapes, also in a zip archive's members."""
    parts = [content, *_members(content)]
    return [name for name in SURNAMES if any(form in part for form in _spelled(name) for part in parts)]


def _spelled(name: str) -> set[bytes]:
    return {name.encode(), name.encode("latin-1"), name.encode("utf-16-le"), ascii(name)[1:-1].encode()}


def _members(content: bytes) -> Iterator[bytes]:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
