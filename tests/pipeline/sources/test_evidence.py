"""Evidence masks: read as images are, and what counts as evidence is said."""

import numpy as np
import pytest
from fakes.deep_images import png
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import originals
from pipeline.sources.source import Original, Originals

SIZE = 32
HALVES = np.repeat(np.array([[0], [1]], np.uint8), 20, axis=0) * np.ones((1, 60), np.uint8)  # the lower half is marked


@pytest.fixture
def image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def evidence(image, mask, **more):
    """Return the evidence in a mask's file, or of an array that is saved as one."""
    path = mask
    if isinstance(mask, np.ndarray):
        path = image.with_name("mask.png")
        Image.fromarray(mask).save(path)
    found = Originals(["a"], [Original("x", image, "a", mask=path)])
    (item,) = originals.items(found, SIZE, "stretch", **more)
    return item.evidence


def lower_half(area):
    return not area[: SIZE // 2 - 1].any() and area[SIZE // 2 + 1 :].all()


def test_all_labels_of_a_label_mask_count_and_a_line_says_so(image, capsys):
    labels = HALVES.copy()
    labels[20:, 30:] = 2
    assert lower_half(evidence(image, labels))
    said = capsys.readouterr().out
    assert "1 masks: in 1 of them, all labels but the lowest are evidence (`mask_values` names others)" in said
    assert "Labels are 0, 1, 2. It covers 50% of an image on average" in said


def test_a_setting_names_the_labels_that_count(image, capsys):
    labels = HALVES.copy()
    labels[20:, 30:] = 2
    area = evidence(image, labels, mask_values=[2])
    assert area[20:, 18:].all()
    assert not area[:, :14].any()
    assert "1 masks: the values 2 are evidence" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"none of the 1 masks has a pixel.*Labels are 0, 1, 2\. Fix: .*`mask_values`"):
        evidence(image, labels, mask_values=[7])


def test_a_palettes_numbers_can_be_named(image):
    palette = Image.fromarray(HALVES, mode="P")
    palette.putpalette([200, 200, 200, 10, 10, 10])  # what is marked is darker
    palette.save(image.with_name("palette.png"))
    assert lower_half(evidence(image, image.with_name("palette.png"), mask_values=[1]))


@pytest.mark.parametrize("inside", [1, 255])
def test_black_and_white_need_no_255(image, inside, capsys):
    assert lower_half(evidence(image, HALVES * np.uint8(inside)))
    assert "1 masks: what is brighter than half is evidence" in capsys.readouterr().out


@pytest.mark.parametrize("inside", [1, 255, 1000, 65535])
def test_16_bits_are_as_good_as_8(image, inside):
    for channels in (1, 3):
        values = np.repeat((HALVES.astype(np.uint16) * inside)[..., None], channels, axis=2)
        image.with_name("deep.png").write_bytes(png(values))
        assert lower_half(evidence(image, image.with_name("deep.png")))


def test_noise_of_compression_is_no_label(image):
    noisy = HALVES * np.uint8(250)
    noisy[:20, ::3] = 3
    noisy[20:, ::3] = 253
    assert lower_half(evidence(image, noisy))


def test_a_transparent_ground_is_no_evidence(image):
    painted = np.full((40, 60, 4), 255, np.uint8)
    painted[:20, :, 3] = 0  # white, and not to be seen
    assert lower_half(evidence(image, painted))


def test_a_mask_is_turned_as_its_photograph_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(HALVES * np.uint8(255)).copy()
    for name in ("image.jpg", "mask.jpg"):
        Image.fromarray(turned).save(tmp_path / name, exif=exif, quality=95)
    assert lower_half(evidence(tmp_path / "image.jpg", tmp_path / "mask.jpg"))


def test_a_mask_on_its_side_is_named(image):
    with pytest.raises(DataError, match=r"mask\.png lies on its side: it has 40 x 60 pixels, .* 60 x 40"):
        evidence(image, np.rot90(HALVES).copy())


def test_masks_of_another_shape_and_without_evidence_are_named(image, tmp_path, capsys):
    Image.fromarray(np.kron([[0, 255]], np.ones((9, 9))).astype(np.uint8)).save(tmp_path / "square.png")
    Image.fromarray(HALVES * 0).save(tmp_path / "empty.png")
    masks = [tmp_path / "square.png", tmp_path / "empty.png"]
    found = Originals(["a"], [Original(mask.stem, image, "a", mask=mask) for mask in masks])
    list(originals.items(found, SIZE, "stretch"))
    said = capsys.readouterr().out
    assert "1 masks have another shape than their images, and are stretched" in said
    assert "1 masks have no evidence:\n" + f"  {tmp_path}/empty.png" in said


def test_a_mask_of_two_pages_is_named_itself(image):
    pages = [Image.fromarray(HALVES), Image.fromarray(HALVES)]
    pages[0].save(image.with_name("mask.tif"), save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"mask\.tif holds 2 images, not one \(the mask of x\)"):
        evidence(image, image.with_name("mask.tif"))
