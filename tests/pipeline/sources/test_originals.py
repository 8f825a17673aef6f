"""Original image files: whatever the format, the picture comes out; what is no picture is named."""

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from fakes.checkout import ROOT
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from pipeline.data import prepared
from pipeline.errors import DataError
from pipeline.sources import originals
from pipeline.sources.decoding import UnusableError
from pipeline.sources.originals import picture
from pipeline.sources.source import Original, Originals

SIZE = 32


def gradient(width=64, height=48):
    """Red grows to the right, green downwards."""
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return np.stack([red, green, np.full((height, width), 60)], axis=-1).astype(np.uint8)


def close(one, other, atol=6):
    return np.abs(one.astype(int) - other.astype(int)).mean() < atol


@pytest.fixture
def expected(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "plain.png")
    return picture(tmp_path / "plain.png", SIZE, "stretch")


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("jpeg.jpg", lambda image: image),
        ("cmyk.jpg", lambda image: image.convert("CMYK")),
        ("palette.gif", lambda image: image.quantize(256)),
        ("alpha.png", lambda image: image.convert("RGBA")),
        ("webp.webp", lambda image: image),
        ("tiff.tif", lambda image: image),
    ],
)
def test_every_format_is_the_same_rgb_picture(tmp_path, expected, name, convert):
    convert(Image.fromarray(gradient())).save(tmp_path / name)
    found = picture(tmp_path / name, SIZE, "stretch")
    assert found.shape == (SIZE, SIZE, 3)
    assert found.dtype == np.uint8
    assert close(found, expected)


def test_grey_and_16_bit_pictures_keep_their_range(tmp_path):
    grey = gradient()[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(grey > 127).save(tmp_path / "1.png")
    eight, sixteen = (picture(tmp_path / f"{bits}.png", SIZE, "stretch") for bits in (8, 16))
    assert eight.shape == (SIZE, SIZE, 3)
    assert close(eight, sixteen, atol=2)
    assert set(np.unique(picture(tmp_path / "1.png", 48, "crop"))) == {0, 255}


def test_what_is_transparent_lies_on_white(tmp_path):
    clear = np.zeros((48, 64, 4), np.uint8)
    clear[:24, :, 3] = 255  # the upper half is black, the lower one is nothing
    Image.fromarray(clear).save(tmp_path / "half.png")
    found = picture(tmp_path / "half.png", SIZE, "stretch")
    assert found[:12].max() < 30
    assert found[-12:].min() > 225


def test_a_picture_is_turned_upright(tmp_path, expected):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(gradient()).copy()).save(tmp_path / "turned.jpg", exif=exif)
    assert close(picture(tmp_path / "turned.jpg", SIZE, "stretch"), expected)


def test_a_picture_with_odd_exif_data_is_turned_too(tmp_path, expected):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, IFDRational(72, 1)  # the resolution, a rational
    content = io.BytesIO()
    Image.fromarray(np.rot90(gradient()).copy()).save(content, "JPEG", exif=exif)
    negative = content.getvalue().replace(struct.pack(">II", 72, 1), struct.pack(">iI", -72, 1))
    negative = negative.replace(struct.pack("<II", 72, 1), struct.pack("<iI", -72, 1))
    assert negative != content.getvalue()
    negative = negative.replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x0a").replace(b"\x1a\x01\x05", b"\x1a\x01\x0a")
    (tmp_path / "odd.jpg").write_bytes(negative)
    assert close(picture(tmp_path / "odd.jpg", SIZE, "stretch"), expected)


@pytest.mark.parametrize("error", [struct.error, RecursionError, MemoryError, IndexError, zlib.error, AttributeError])
def test_a_file_that_a_decoder_chokes_on_is_named_with_any_error(tmp_path, monkeypatch, error):
    def choke(*arguments, **settings):
        raise error("odd")

    Image.fromarray(gradient()).save(tmp_path / "odd.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", choke)
    rows = [Original("odd", tmp_path / "odd.png", "a")]
    with pytest.raises(
        DataError, match=rf"(?s)1 files cannot.*odd\.png cannot be read as an image \({error.__name__}: odd"
    ):
        list(originals.items(Originals(["a"], rows), SIZE, "stretch"))


def test_stretching_shows_everything_and_cropping_keeps_the_shape(tmp_path):
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, :40, 0], wide[:, 40:80, 1], wide[:, 80:, 2] = 255, 255, 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    stretched, cropped = (picture(tmp_path / "wide.png", SIZE, fit) for fit in ("stretch", "crop"))
    assert [int(stretched[16, x].argmax()) for x in (4, 16, 28)] == [0, 1, 2]
    assert (cropped.argmax(axis=2) == 1).all()


def test_a_large_jpeg_is_nearly_what_decoding_it_in_full_gives(tmp_path):
    Image.fromarray(gradient(1200, 900)).save(tmp_path / "large.jpg", quality=95)
    full = np.asarray(Image.open(tmp_path / "large.jpg").resize((SIZE, SIZE)))
    assert close(picture(tmp_path / "large.jpg", SIZE, "stretch"), full, atol=2)


def broken_files(folder):
    Image.fromarray(gradient(200, 200)).save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    frames = [Image.fromarray(gradient() // n) for n in (1, 2, 3)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((20, 20), 0.5, np.float32)).save(folder / "float.tif")
    return {
        "truncated.jpg": "cannot be read as an image",
        "empty.png": "is empty",
        "text.png": "cannot be read as an image",
        "animated.gif": "holds 3 images",
        "float.tif": "floating-point",
        "nowhere.png": "cannot be read",
    }


def test_what_is_no_picture_says_why(tmp_path):
    for name, why in broken_files(tmp_path).items():
        with pytest.raises(UnusableError, match=why):
            picture(tmp_path / name, SIZE, "stretch")


def test_all_unusable_files_are_named_at_once_and_nothing_counts_as_prepared(tmp_path):
    names = ["whole.jpg", *broken_files(tmp_path)]
    rows = [Original(name, tmp_path / name, "a") for name in names]
    with pytest.raises(DataError) as error:
        prepared.write_arrays(
            tmp_path / "out",
            count=len(rows),
            size=SIZE,
            items=originals.items(Originals(["a"], rows), SIZE, "stretch"),
        )
    assert "6 files cannot be used" in str(error.value)
    assert all(name in str(error.value) for name in names[1:])
    assert not (tmp_path / "out" / "manifest.json").exists()


BOMB = """
import resource, sys, time
from pathlib import Path
from pipeline.sources.decoding import UnusableError
from pipeline.sources.originals import picture
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    picture(Path(sys.argv[1]), 32, "stretch")
except UnusableError as error:
    print(error)
"""


def test_a_small_file_of_a_huge_picture_is_refused_in_little_memory(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1_000_000)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(tmp_path / "bomb.png")], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert "cannot be read as an image (DecompressionBombError" in done.stdout, done.stderr


def test_items_come_in_the_sources_order_with_their_evidence(tmp_path):
    rows = []
    for n in range(20):
        Image.fromarray(np.full((30, 40, 3), n * 10, np.uint8)).save(tmp_path / f"{n}.png")
        mask = np.zeros((60, 80), np.uint8)  # of another size than its image
        mask[:30] = 1  # and with 1, not 255, for "inside"
        Image.fromarray(mask).save(tmp_path / f"{n}-mask.png")
        rows.append(Original(str(n), tmp_path / f"{n}.png", "a", mask=tmp_path / f"{n}-mask.png" if n % 2 else None))
    everything = Originals(["a"], rows, evidence=lambda pixels: np.ones(pixels.shape[:2], bool))
    for fit in ("stretch", "crop"):
        items = list(originals.items(everything, SIZE, fit))
        assert [item.name for item in items] == [str(n) for n in range(20)]
        assert [int(item.image[0, 0, 0]) for item in items] == [n * 10 for n in range(20)]
        assert items[0].evidence.all()
        assert items[1].evidence[: SIZE // 2 - 1].all()
        assert not items[1].evidence[SIZE // 2 + 1 :].any()


def test_the_sizes_of_originals_are_recorded_beside_the_prepared_images(tmp_path):
    sizes = {"wide.png": (60, 40), "large.jpg": (900, 600), "small.jpg": (33, 35)}
    for name, (width, height) in sizes.items():
        Image.fromarray(gradient(width, height)).save(tmp_path / name)
    rows = [Original(name, tmp_path / name, "ab"[n % 2], "train") for n, name in enumerate(sizes)]
    items = list(originals.items(Originals(["a", "b"], rows), SIZE, "stretch"))
    assert [item.size for item in items] == list(sizes.values()), "a large JPEG is decoded at a fraction of its size"
    prepared.write_arrays(tmp_path / "x", count=3, size=SIZE, items=iter(items))
    assert np.load(tmp_path / "x" / "sizes.npy").tolist() == [list(size) for size in sizes.values()]
    prepared.write_arrays(tmp_path / "x", count=1, size=SIZE, items=iter([replace(items[0], size=None)]))
    assert not (tmp_path / "x" / "sizes.npy").exists(), "a set that draws its images has no originals"
