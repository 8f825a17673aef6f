"""One DICOM file: its picture is what the header says, or an error says why there is none."""

import io
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fakes import dicom as fake
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from pipeline.sources import decoding, dicom
from pipeline.sources.decoding import UnusableError

RAMP = np.arange(0, 4000, 100, dtype=np.int16).reshape(4, 10)


def shown(values, low, high):
    return np.rint(255 * ((values - low) / (high - low)).clip(0, 1))


def pixels(stored=RAMP, *, setting=None, **tags):
    return dicom.pixels(fake.content(stored, **tags), setting)


def same(found, expected):
    np.testing.assert_allclose(found.astype(int), expected, atol=1, err_msg="but for rounding")


def shipped(name):
    return Path(get_testdata_file(name, download=False)).read_bytes()


def test_grey_is_rescaled_windowed_and_inverted():
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    windowed = {"WindowCenter": 40, "WindowWidth": 401}
    expected = shown(2.0 * RAMP - 1000, 39.5 - 200, 39.5 + 200)
    same(pixels(**rescaled, **windowed), expected)
    inverted = pixels(**rescaled, **windowed, PhotometricInterpretation="MONOCHROME1")
    same(inverted, 255 - expected)
    same(pixels(**rescaled, **windowed, setting={"center": 2000.5, "width": 1001}),
                                  shown(2.0 * RAMP - 1000, 1500, 2500))  # fmt: skip
    exact = pixels(**windowed, VOILUTFunction="LINEAR_EXACT")
    same(exact, shown(RAMP, 40 - 200.5, 40 + 200.5))
    sigmoid = pixels(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    same(sigmoid, np.rint(255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))))


def test_an_enhanced_file_of_one_frame_has_its_values_in_sequences():
    def item(**tags):
        found = Dataset()
        for name, value in tags.items():
            setattr(found, name, value)
        return found

    rescaled = item(PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-1000)])
    windowed = item(FrameVOILUTSequence=[item(WindowCenter=40, WindowWidth=401)])
    found = pixels(
        SharedFunctionalGroupsSequence=[rescaled], PerFrameFunctionalGroupsSequence=[windowed], NumberOfFrames=1
    )
    same(found, pixels(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=40, WindowWidth=401))
    assert found.min() < found.max()


def test_twelve_signed_bits_are_read_with_and_without_sign_extension():
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1, "WindowCenter": 0.5, "WindowWidth": 401}
    values = np.arange(-200, 200, 10, dtype=np.int16).reshape(4, 10)
    for stored in (values, values & 0x0FFF):
        same(pixels(stored, **tags), shown(values, -200, 200))


def test_the_first_window_counts_and_a_width_of_1_is_a_threshold():
    several = pixels(WindowCenter=[1000, 3000], WindowWidth=[501, 801])
    same(several, shown(RAMP, 999.5 - 250, 999.5 + 250))
    same(pixels(WindowCenter=1000, WindowWidth=1), 255 * (RAMP > 1000) + 128 * (RAMP == 1000))


@pytest.mark.parametrize("window", [{}, {"WindowWidth": 0}, {"WindowWidth": -5}, {"WindowCenter": None}])
def test_without_a_usable_window_all_values_are_shown(window):
    tags = {} if not window else {"WindowCenter": 50, "WindowWidth": 10, **window}
    if "WindowCenter" in window:
        tags = {"WindowWidth": 10}
    same(pixels(RAMP - 1000, **tags), shown(RAMP - 1000, -1000, 2900))


def test_padding_is_black_and_does_not_set_the_range():
    padded = RAMP.copy()
    padded[0] = -2000
    for value in (-2000, 63536):  # some writers store the bits
        tags = {"PixelPaddingValue": value}
        data = pydicom.dcmread(io.BytesIO(fake.content(padded)))
        data.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        file = io.BytesIO()
        data.save_as(file)
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            data.PhotometricInterpretation = photometric
            file = io.BytesIO()
            data.save_as(file)
            found = dicom.pixels(file.getvalue())
            assert (found[0] == 0).all(), tags
            assert set(found[1:].flat) >= {0, 255}


def test_lookup_tables_replace_the_window():
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 8], list(range(255, -1, -1))
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    stored = np.arange(200, dtype=np.uint8).reshape(10, 20)
    tags = {"WindowCenter": 5, "WindowWidth": 2}
    same(pixels(stored, VOILUTSequence=[item], **tags), 255 - stored)
    np.testing.assert_array_equal(
        pixels(stored, VOILUTSequence=[item], **tags, setting={"center": 100.5, "width": 2}),
        255.0 * (stored > 99) - 127 * (stored == 100),
    )
    modality = pixels(stored, ModalityLUTSequence=[item], WindowCenter=127.5 + 0.5, WindowWidth=256)
    same(modality, 255 - stored)


BARS = ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jls_lossy_line.dcm",
        "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm"]  # fmt: skip


@pytest.mark.parametrize("name", BARS)
def test_colours_are_the_same_in_every_colour_model_and_transfer_syntax(name):
    reference = dicom.pixels(shipped("SC_rgb_rle.dcm")).astype(int)
    assert len(np.unique(reference.reshape(-1, 3), axis=0)) > 8, "it has bars of many colours"
    found = dicom.pixels(shipped(name)).astype(int)
    assert np.abs(found - reference).mean() < 6


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_bigendian.dcm",
     "MR_small_implicit.dcm", "MR_small_padded.dcm", "MR_small_expb.dcm"],
)  # fmt: skip
def test_grey_is_the_same_in_every_transfer_syntax(name):
    np.testing.assert_array_equal(dicom.pixels(shipped(name)), dicom.pixels(shipped("MR_small.dcm")))


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "JPGExtended.dcm", "SC_jpeg_no_color_transform.dcm", "JPEG2000.dcm",
     "examples_palette.dcm", "image_dfl.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm",
     "rtdose_1frame.dcm", "liver_1frame.dcm"],
)  # fmt: skip
def test_odd_files_have_a_picture(name):
    found = decoding.picture(shipped(name), 32, "crop")
    assert found.min() < found.max()


REFUSED = {
    "SC_rgb_rle_2frame.dcm": "is a multi-frame DICOM file: it holds 2 images, not one; save its frames as files",
    "test-SR.dcm": r"is DICOM without pixel data \(.*SR Storage\); take it out",
    "rtplan.dcm": r"is DICOM without pixel data \(RT Plan Storage\)",
    "dicomdirtests/DICOMDIR": r"is DICOM without pixel data \(Media Storage Directory Storage\)|unknown kind",
    "MR_truncated.dcm": r"is DICOM that is damaged or cut off \(ValueError\)",
    "JPEG-lossy.dcm": r"pixels that cannot be decoded from JPEG Extended .*; decompress it, for example with `gdcm",
    "badVR.dcm": "is DICOM that is damaged or cut off",
    "ExplVR_LitEndNoMeta.dcm": "is DICOM without pixel data",
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_without_one_image_say_so(name):
    with pytest.raises(UnusableError, match=REFUSED[name]):
        decoding.picture(shipped(name), 32, "stretch")


def test_unusable_pixels_are_named():
    film = pydicom.dcmread(io.BytesIO(fake.content(RAMP)))
    film.PixelData, film.file_meta.TransferSyntaxUID = encapsulate([bytes(100)]), "1.2.840.10008.1.2.4.100"
    file = io.BytesIO()
    film.save_as(file)
    with pytest.raises(UnusableError, match=r"transfer syntax MPEG2 .*for which no decoder .*gdcmconv --raw"):
        decoding.picture(file.getvalue(), 32, "stretch")
    with pytest.raises(UnusableError, match="photometric interpretation 'HSV', which is not read"):
        pixels(np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation="HSV")
    with pytest.raises(UnusableError, match="rescale slope of 0"):
        pixels(RescaleSlope=0, RescaleIntercept=0)
    whole = fake.content(RAMP)
    for end in (140, len(whole) // 2, len(whole) - 10):
        with pytest.raises(UnusableError):
            decoding.picture(whole[:end], 32, "stretch")
    with pytest.raises(UnusableError, match="is DICOM; save it as PNG"):
        decoding.labels(whole)


def test_no_message_shows_what_a_damaged_header_says():
    whole = fake.content(RAMP, PatientName="Quillfeather^Jo")
    uid = b"1.2.840.10008.5.1.4.1.1.7"
    assert uid in whole
    said = []
    for damaged in (whole.replace(uid, b"Quillfeather^Jo".ljust(len(uid))), whole[: whole.index(b"Quillfeather") + 15]):
        for content in (damaged, damaged.replace(b"\xe0\x7f\x10\0", b"\xe0\x7f\x11\0")):  # without pixels
            try:
                decoding.picture(content, 32, "stretch")
            except UnusableError as error:
                said.append(str(error))
    assert len(said) >= 3
    assert not [text for text in said if "Quillfeather" in text]


def test_a_file_without_a_preamble_is_dicom_too():
    content = fake.content(RAMP, preamble=False)
    assert decoding.is_dicom(content)
    np.testing.assert_array_equal(dicom.pixels(content), pixels())
    png = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(png, "PNG")
    assert not decoding.is_dicom(png.getvalue())


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "pipeline.sources.dicom")
    monkeypatch.delattr("pipeline.sources.dicom")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnusableError, match=r"pydicom is not installed; run `pip install -e '\.\[dicom\]'`"):
        decoding.picture(fake.content(RAMP), 32, "stretch")
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(UnusableError, match=r"pillow-heif is not installed; run `pip install -e '\.\[heic\]'`"):
        decoding.picture(b"\0\0\0\x18ftypheic" + bytes(100), 32, "stretch")


def test_heic_is_read(tmp_path):
    import pillow_heif

    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 200, 100, 50
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture)).save(file, format="HEIF")
    found = decoding.picture(file.getvalue(), 64, "stretch").astype(int)
    assert np.abs(found - picture).mean() < 6
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # as a telephone held upright writes it, beside a rotation of HEIC's own
    Image.fromarray(picture).save(file, "HEIF", exif=exif.tobytes())
    found = decoding.picture(file.getvalue(), 64, "stretch").astype(int)
    assert np.abs(found - np.rot90(picture, -1)).mean() < 6, "turned once"
