"""Decoding: an image file's content becomes a network's pixels, in the same way for preparing and for serving.

A registered model carries a copy of this module and of the one for DICOM, and they import nothing else of the project.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

with suppress(ImportError):  # an extra
    import pillow_heif

    pillow_heif.register_heif_opener()

Pixels = NDArray[np.uint8]
Fit = Literal["stretch", "crop"]  # as in pipeline/choices.py, which a registered model does not have
WHITE = 65535  # the largest value of 16 bits
PHOTOMETRIC = 262  # TIFF's tag; where it is 0, 0 is white. Pillow heeds it for 8 bits only
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # brands, from byte 8
DICOM_START = 132  # bytes: a preamble, and the word DICM
# DICOM without a preamble starts with one of these tags of group 2 or 8, little-endian
FIRST_TAGS = tuple(
    group + bytes([element, 0])
    for group, elements in ((b"\2\0", (0x00, 0x01)), (b"\x08\0", (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x16, 0x18)))
    for element in elements
)
TURNS = {  # EXIF's orientation → the turn that brings the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnusableError(Exception):
    """One file is no usable image. The message goes behind the file's name: "is empty"."""


@contextmanager
def naming_damage() -> Iterator[None]:
    """Turn any error of a decoder into an UnusableError; damaged files raise errors of many types."""
    try:
        yield
    except UnusableError:
        raise
    except Exception as error:
        raise UnusableError(f"cannot be read as an image ({type(error).__name__}: {error})") from error


def is_dicom(content: bytes) -> bool:
    """Return whether the content is DICOM, by its first 132 bytes."""
    return content[128:DICOM_START] == b"DICM" or content.startswith(FIRST_TAGS)


def picture(
    content: bytes, size: int, fit: Fit, white: int = WHITE, *, window: Mapping[str, float] | None = None
) -> Pixels:
    """Return the image (S, S, 3) in a file's content.

    ``stretch`` brings both sides to S, as in the paper. ``crop`` brings the shorter side to S and keeps the middle of
    the longer side. Grey, palette, CMYK and 16-bit images are converted; transparent images are laid on white.

    Args:
        content: The content of the file.
        size: S, pixels.
        fit: How a picture becomes square.
        white: The value of a 16-bit image that becomes white; larger values do as well.
        window: ``center`` and ``width`` that replace the window of a DICOM file.

    Raises:
        ValueError: ``fit`` is unknown.
        UnusableError: The content is no image, is cut off, or holds several images.
    """
    _assert_fit(fit)
    with naming_damage():
        return np.asarray(resized(upright(content, size, white, window=window), size, fit))


def upright(content: bytes, size: int, white: int = WHITE, *, window: Mapping[str, float] | None = None) -> Image.Image:
    """Return the RGB image, turned as EXIF says. A large JPEG is decoded at a fraction of its size.

    ``picture`` explains the parameters.
    """
    with naming_damage():
        if is_dicom(content):
            return _of_dicom(content, window)
        image = _sole(content)
        if image.mode == "F":
            raise UnusableError("holds floating-point numbers, not an image")
        if image.mode.startswith("I") or (is_deep(image) and white < WHITE):
            pixels = _eight_bits(_values(image, content), white)
            is_negative = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
            upright = _turned(image, 255 - pixels if is_negative else pixels)
        else:
            if image.mode == "RGB":
                image.draft("RGB", (2 * size, 2 * size))
            upright = _turned(image)
        if upright.has_transparency_data:
            upright = _on(upright, "white")
        return upright.convert("RGB")


def original_size(content: bytes, upright: Image.Image) -> tuple[int, int]:
    """Return the width and height of the image in a file, before it is turned; ``upright`` is what it became."""
    return upright.size if is_dicom(content) else Image.open(io.BytesIO(content)).size


def labels(content: bytes, *, stored: bool = False) -> NDArray[np.integer]:
    """Return the values (H, W) of a mask, turned as EXIF says; what is transparent is 0.

    Colours become brightness, 0 to 255; ``stored`` returns the numbers of a palette's colours instead. 16-bit masks
    keep their values. Raises UnusableError if the content is no image.
    """
    with naming_damage():
        image = _sole(content)
        if image.mode == "F":
            raise UnusableError("holds floating-point numbers, not a mask")
        if is_deep(image):
            values = _values(image, content)
            values = values if values.ndim == 2 else values[..., :3].max(axis=2)
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            return values if turn is None else np.asarray(Image.fromarray(values).transpose(turn))
        upright = _turned(image)
        if stored and upright.mode == "P":
            return np.asarray(upright)
        if upright.has_transparency_data:
            upright = _on(upright, "black")
        return np.asarray(upright.convert("L"))


def largest(content: bytes) -> int | None:
    """Return the largest value of a 16-bit image, without its transparency; None for other images."""
    with naming_damage():
        image = _sole(content)
        if not is_deep(image):
            return None
        values = _values(image, content)
        return int((values if values.ndim == 2 else values[..., :3]).max())


def resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Return the image, or a mask, at ``size`` x ``size`` pixels."""
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _assert_fit(fit: Fit) -> None:
    """Raise ValueError if the word is unknown."""
    if fit not in get_args(Fit):
        raise ValueError(f"unknown fit {fit!r}. Fix: write 'stretch' or 'crop'")


def _of_dicom(content: bytes, window: Mapping[str, float] | None) -> Image.Image:
    try:
        from pipeline.sources import dicom  # here, because it imports this module, and pydicom is an extra
    except ImportError:
        raise UnusableError("is DICOM, and pydicom is not installed; run `pip install -e '.[dicom]'`") from None
    try:
        return Image.fromarray(dicom.pixels(content, window)).convert("RGB")
    except UnusableError:
        raise
    except Exception as error:  # whose text may show values of the header
        raise UnusableError(f"is DICOM that is damaged or cut off ({type(error).__name__})") from error


def _sole(content: bytes) -> ImageFile.ImageFile:
    """Return the only image in a file's content, not decoded yet."""
    if not content:
        raise UnusableError("is empty")
    if is_dicom(content):
        raise UnusableError("is DICOM; save it as PNG")  # masks
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if content[4:8] == b"ftyp" and content[8:12] in HEIC and "HEIF" not in Image.OPEN:
            raise UnusableError("is HEIC, and pillow-heif is not installed; run `pip install -e '.[heic]'`") from None
        raise
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a camera's JPEG with a preview behind the image
        raise UnusableError(f"holds {frames} images, not one")
    return image


def _turned(image: Image.Image, pixels: Pixels | None = None) -> Image.Image:
    """Return the image upright; ``pixels`` replace its own.

    Pillow's exif_transpose also writes the EXIF data anew, which fails on data that are slightly wrong.
    """
    image.load()  # decoding a TIFF turns it, and then takes the orientation out of its data
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image = image if pixels is None else Image.fromarray(pixels)
    return image if turn is None else image.transpose(turn)


def _on(image: Image.Image, ground: str) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image.convert("RGBA"))


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name for the pixels in the file; "" where a decoder has no such name."""
    args: Any = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return whether an image that is not decoded yet has more than 8 bits a channel."""
    return image.mode.startswith("I") or (image.mode in ("RGB", "RGBA") and ";16" in _rawmode(image))


def _values(image: ImageFile.ImageFile, content: bytes) -> NDArray[np.uint16]:
    """Return the values of a deep image as stored: (H, W), or (H, W, 3) and perhaps transparency.

    Pillow decodes the upper 8 bits of a colour. The lower bits come from a second decoding, with the bytes swapped.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > WHITE:
            raise UnusableError(f"has values from {values.min()} to {values.max()}, and not 0 to {WHITE} as 16 bits do")
        return values.astype(np.uint16)
    lower = _sole(content)
    args: Any = lower.tile[0].args
    given = _rawmode(lower)
    if given == "LA;16B":
        swapped = "RGBA"  # two bytes of grey, two of transparency
    else:
        little = given.endswith("L") or (given.endswith("N") and sys.byteorder == "little")
        swapped = given[:-1] + ("B" if little else "L")
    args = swapped if isinstance(args, str) else (swapped, *args[1:])
    lower.tile = [tile._replace(args=args) for tile in lower.tile]
    low = np.asarray(lower)
    if given == "LA;16B":
        low = low[..., [1, 1, 1, 3]]
    return np.asarray(image).astype(np.uint16) * 256 + low


def _eight_bits(values: NDArray[np.uint16], white: int) -> Pixels:
    """Return values of 0 to ``white`` as 0 to 255; transparency always has all 16 bits."""
    scaled = np.minimum(values.astype(np.uint32) * 255 // white, 255)
    if values.ndim == 3 and values.shape[2] == 4:
        scaled[..., 3] = values[..., 3] // 257
    return scaled.astype(np.uint8)
