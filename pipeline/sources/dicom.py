"""DICOM: the content of a file becomes 8-bit pixels, as the file's header says that they are shown.

Stored values → the modality LUT, or slope and intercept → the VOI LUT or the window → grey, inverted for MONOCHROME1.
Nothing but the tags listed here is read of the header, so that no name and no date of a patient can get anywhere.

A registered model carries a copy of this module, which imports nothing of the project but the decoding.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.sources.decoding import Pixels, UnusableError

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")  # they may show the values of tags

FRAMES = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]  # where enhanced files have values
WINDOW = ["WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", *FRAMES]
PALETTE = [f"{c}PaletteColorLookupTable{part}" for c in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")]
SEGMENTED = [f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")]
LAYOUT = ["SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"]
BITS = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
VALUES = ["PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"]
DATA = ["PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"]
TAGS = ["SOPClassUID", *LAYOUT, *BITS, *VALUES, *WINDOW, *PALETTE, *SEGMENTED, *DATA]
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom converts these to RGB
DECOMPRESS = "decompress it, for example with `gdcmconv --raw` or `dcmdjpeg`"
LARGEST = 2**29  # pixels; damaged headers may say anything
GREYS = ("MONOCHROME1", "MONOCHROME2")


def pixels(content: bytes, window: Mapping[str, float] | None = None) -> Pixels:
    """Return the picture, (H, W) grey or (H, W, 3) RGB.

    Args:
        content: The content of the file.
        window: ``center`` and ``width`` that replace the file's window, in units of the rescaled values.

    Raises:
        UnusableError: The file holds no image, several images, or an image that no installed decoder reads.
    """
    header = read(io.BytesIO(content), TAGS)
    _check(header)
    stored = _decoded(header)
    colours = str(header.get("PhotometricInterpretation", "")).strip()
    if colours == "PALETTE COLOR":
        coloured = apply_color_lut(stored, header)[..., :3]
        return _eight_bits(coloured, 8 * coloured.dtype.itemsize)
    if colours in COLOURS and stored.ndim == 3:
        return _eight_bits(stored, int(header.BitsStored))
    if colours in GREYS and stored.ndim == 2:
        return _grey(stored, header, window)
    raise UnusableError(
        f"has the photometric interpretation {colours!r}, which is not read; convert it to RGB, for example with "
        "`dcmconv` or `gdcmconv`"
    )


def read(file: io.BytesIO | Path, tags: list[str], **options: Any) -> pydicom.Dataset:
    """Return these tags of a file, with the rescaling and the window of an enhanced file's first frame among them."""
    header = pydicom.dcmread(file, force=True, specific_tags=tags, **options)
    for group in [groups[0] for name in FRAMES if (groups := header.get(name))]:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in list(group.get(name) or [])[:1]:
                header.update({element.tag: element for element in item if element.keyword in (*WINDOW, *VALUES)})
    return header


def windows(header: pydicom.Dataset) -> int | None:
    """Return the number of ways in which the header says that grey values are shown; None for colours."""
    if str(header.get("PhotometricInterpretation", "")).strip() not in GREYS:
        return None
    if header.get("VOILUTSequence"):
        return len(header.VOILUTSequence)
    return np.size(header["WindowCenter"].value) if _window(header) else 0


def kind(header: pydicom.Dataset) -> str:
    """Return the name of the file's SOP class; a text that is no known class is not shown, since it may be anything."""
    return _known(pydicom.uid.UID(str(header.get("SOPClassUID", ""))))


def _known(uid: pydicom.uid.UID) -> str:
    return str(uid.name) if uid.name != uid else "of an unknown kind"


def _check(header: pydicom.Dataset) -> None:
    """Raise UnusableError unless there is one image, which a decoder reads."""
    if not any(keyword in header for keyword in DATA[:3]):
        raise UnusableError(f"is DICOM without pixel data ({kind(header)}); take it out of the data set")
    if header.Rows * header.Columns > LARGEST:
        raise UnusableError(f"is too large: {header.Rows} x {header.Columns} pixels")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnusableError(f"is a multi-frame DICOM file: it holds {frames} images, not one; save its frames as files")
    if "TransferSyntaxUID" not in header.file_meta:  # of files without the part before the data set
        is_implicit, is_little = header.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    syntax = header.file_meta.TransferSyntaxUID
    try:
        is_read = get_decoder(syntax).is_available
    except NotImplementedError:
        is_read = False
    if not is_read:
        raise UnusableError(
            f"has the transfer syntax {_known(syntax)}, for which no decoder is installed; {DECOMPRESS}"
        )


def _decoded(header: pydicom.Dataset) -> NDArray[Any]:
    """Return the stored values."""
    syntax = header.file_meta.TransferSyntaxUID
    try:
        return np.asarray(header.pixel_array)
    except Exception as error:  # each decoder has errors of its own, of several lines
        if not syntax.is_compressed:
            raise
        raise UnusableError(
            f"has pixels that cannot be decoded from {syntax.name}: they are damaged, or of a kind that no installed "
            f"decoder reads; {DECOMPRESS}"
        ) from error


def _grey(stored: NDArray[Any], header: pydicom.Dataset, window: Mapping[str, float] | None) -> Pixels:
    values = _rescaled(stored, header)
    padding = _padding(stored, header)
    chosen = (window["center"], window["width"]) if window else _window(header)
    if window is None and header.get("VOILUTSequence"):
        shares = _looked_up(values, header)
    elif chosen is not None:
        shares = _windowed(values, *chosen, "LINEAR" if window else str(header.get("VOILUTFunction") or "LINEAR"))
    else:
        shown = values if padding.all() else values[~padding]
        shares = (values - shown.min()) / (np.ptp(shown) or 1)
    shares = shares.clip(0, 1)
    if header.PhotometricInterpretation.strip() == "MONOCHROME1":
        shares = 1 - shares
    shares[padding] = 0
    return np.rint(255 * shares).astype(np.uint8)


def _rescaled(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[np.float64]:
    if header.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, header).astype(float)
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    values = stored * float(1 if slope is None else slope) + float(intercept or 0)
    if slope == 0 or not np.isfinite(values).all():
        raise UnusableError("has a rescale slope of 0" if slope == 0 else "has values that are infinite or not numbers")
    return values


def _window(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the first window's centre and width; None if there is none, or one that shows nothing."""
    try:
        center, width = (float(np.ravel(header[keyword].value)[0]) for keyword in WINDOW[:2])
    except Exception:  # missing, empty, or no numbers
        return None
    return (center, width) if math.isfinite(center) and math.isfinite(width) and width > 0 else None


def _windowed(values: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """Return shares of white, by DICOM's functions (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))))
    if function == "LINEAR" and width > 1:  # a window of width 2 shows two values
        return (values - (center - 0.5)) / (width - 1) + 0.5
    return (values - center) / width + 0.5


def _looked_up(values: NDArray[np.float64], header: pydicom.Dataset) -> NDArray[np.float64]:
    """Return shares of white by the first VOI LUT."""
    bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
    return np.asarray(apply_voi(np.rint(values).astype(np.int64), header) / (2**bits - 1))


def _padding(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[np.bool_]:
    """Return where there is no image, (H, W), which becomes black."""
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int) or stored.dtype.kind == "f":
        return np.zeros(stored.shape, bool)
    last = header.get("PixelPaddingRangeLimit", first)
    ends = np.array([first, last]).astype(stored.dtype)  # some writers store the bits of -2000 as 63536
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))


def _eight_bits(values: NDArray[Any], bits: int) -> Pixels:
    if bits <= 8:
        return values.astype(np.uint8)
    return (values.astype(np.uint64) * 255 // (2**bits - 1)).astype(np.uint8)
