"""Images with 16 bits a channel: one scale for a whole data set, in a line that says so."""

import json

import numpy as np
import pytest
from fakes.deep_images import png, ramp
from fakes.sources import settings
from PIL import Image

from pipeline.data import prepared
from pipeline.sources import decoding, originals
from pipeline.sources.preparing import prepare
from pipeline.sources.source import Original, Originals

SIZE = 32


def write(folder, *contents):
    rows = []
    for n, content in enumerate(contents):
        (folder / f"{n}.png").write_bytes(content)
        rows.append(Original(str(n), folder / f"{n}.png", "a"))
    return Originals(["a"], rows)


def images(found, chosen=None):
    white = originals.white(found, chosen)
    return [item.image for item in originals.items(found, SIZE, "stretch", white=white)]


def test_twelve_bits_fill_the_range_alike_in_all_images(tmp_path, capsys):
    bright, dark = images(write(tmp_path, png(ramp(4000)), png(ramp(1000))))
    assert bright.max() > 240
    assert 50 < dark.max() < 70, "a dark image stays as much darker as it is"
    said = capsys.readouterr().out
    assert "2 of 2 images have 16 bits a channel, with values up to 4000: 4095 becomes white (`white`)" in said


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colours_and_transparency_are_scaled_as_grey_is(tmp_path, channels):
    values = np.repeat(ramp(4000)[..., None], channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = 65535
    (image,) = images(write(tmp_path, png(values)))
    assert image[:, -1].min() > 240
    assert image[:, 0].max() < 10


def test_a_colour_tiff_is_scaled_too(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for number, compression in enumerate((None, "zlib")):
        values = np.repeat(ramp(4000)[..., None], 3, axis=2)
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, values, photometric="rgb", compression=compression, predictor=False)
        (image,) = images(Originals(["a"], [Original("a", path, "a")]))
        assert image[:, -1].min() > 240


def test_a_tiff_where_0_is_white_is_no_negative(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", ramp(4000), photometric="miniswhite")
    (image,) = images(Originals(["a"], [Original("a", tmp_path / "x.tif", "a")]))
    assert image[:, 0].min() > 245
    assert image[:, -1].max() < 20


def test_all_16_bits_are_read_as_before(tmp_path):
    values = ramp(65535)
    (image,) = images(write(tmp_path, png(values)))
    wanted = Image.fromarray((values // 257).astype(np.uint8)).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)
    np.testing.assert_array_equal(image, np.asarray(wanted))


def test_a_setting_names_the_white(tmp_path, capsys):
    bright, dark = images(write(tmp_path, png(ramp(4000)), png(ramp(1000))), chosen=1000)
    assert dark.max() > 240
    assert (bright[:, SIZE // 2 :] == 255).all()
    assert (
        "1000 becomes white (`white`); 1 images have larger values, which become white too" in capsys.readouterr().out
    )


def test_a_served_image_is_scaled_as_the_prepared_one(tmp_path):
    for n in range(40):
        folder = tmp_path / "raw" / "ab"[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(n).integers(0, 4096, (30, 40)).astype(np.uint16)
        (folder / f"{n}.png").write_bytes(png(values))
    prepare("x", settings(tmp_path / "raw", "folder"), tmp_path / "x")
    data = prepared.read(tmp_path / "x")
    assert data.white == json.loads((tmp_path / "x" / "manifest.json").read_text())["white"] == 4095
    served = decoding.picture((tmp_path / "raw" / "a" / "0.png").read_bytes(), 32, "stretch", data.white)
    assert any(np.array_equal(served, image) for image in data.images)
