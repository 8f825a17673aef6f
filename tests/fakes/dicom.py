"""Small DICOM files, with any tags."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def content(pixels: np.ndarray, *, preamble: bool = True, **tags: Any) -> bytes:
    """Return a file with these stored values, (H, W) or (H, W, 3), and these tags but those that are None."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(entropy_srcs=["a file"])
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    data.Rows, data.Columns = pixels.shape[:2]
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    file = io.BytesIO()
    if preamble:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()
    pydicom.dcmwrite(file, data, implicit_vr=True, little_endian=True)
    return file.getvalue()


def write(path: Path, pixels: np.ndarray | None = None, *, seed: int = 0, **tags: Any) -> None:
    """Write a file; without values, a random picture with a window that shows it."""
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40), dtype=np.uint8)
        tags = {"WindowCenter": 127.5, "WindowWidth": 256, **tags}
    tags.setdefault("SOPInstanceUID", generate_uid(entropy_srcs=[str(path)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(pixels, **tags))
