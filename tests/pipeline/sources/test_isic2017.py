"""isic2017: the official layout as it is downloaded, and each mistake in it named with its rows."""

import shutil

import numpy as np
import pandas as pd
import pytest
from fakes.checkout import SHARED
from fakes.sources import draw, edit, labels, read
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import originals


@pytest.fixture
def isic(tmp_path):
    """The challenge's layout with a few small pictures; CSV order is not file order."""
    for part, count in (("Training", 6), ("Validation", 3), ("Test_v2", 3)):
        rows = []
        for n in reversed(range(count)):
            name = f"ISIC_{part[:2]}{n}"
            draw(tmp_path / f"ISIC-2017_{part}_Data" / f"{name}.jpg", seed=n)
            if part != "Test_v2":
                lesion = np.zeros((30, 40), np.uint8)
                lesion[:15] = 255
                path = tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth" / f"{name}_segmentation.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(lesion).save(path)
            kind = n % 3
            rows.append({"image_id": name, "melanoma": float(kind == 1), "seborrheic_keratosis": float(kind == 2)})
        pd.DataFrame(rows).to_csv(tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv", index=False)
    return tmp_path


def test_isic_labels_go_by_id_and_lesions_are_the_evidence(isic):
    found = read(isic, "isic2017")
    assert labels(found)["ISIC_Tr1"] == "melanoma"
    assert labels(found)["ISIC_Tr2"] == "benign"
    assert pd.Series([row.split for row in found.rows]).value_counts().to_dict() == {"train": 6, "val": 3, "test": 3}
    items = {item.name: item for item in originals.items(found, 16, "stretch")}
    assert items["ISIC_Tr0"].evidence[:7].all()
    assert not items["ISIC_Tr0"].evidence[9:].any()
    assert items["ISIC_Te0"].evidence is None


def test_isic_reads_the_classes_that_params_name(isic):
    keratosis = read(isic, "isic2017", classes="seborrheic-keratosis")
    assert labels(keratosis)["ISIC_Tr2"] == "seborrheic-keratosis"
    assert labels(keratosis)["ISIC_Tr1"] == "other"
    pair = read(isic, "isic2017", classes="melanoma-or-seborrheic-keratosis")
    assert set(labels(pair)) == {
        f"ISIC_{part}{n}" for part, ns in (("Tr", (1, 2, 4, 5)), ("Va", (1, 2)), ("Te", (1, 2))) for n in ns
    }
    assert labels(pair)["ISIC_Tr2"] == "seborrheic-keratosis"


def test_isic_leaves_out_what_has_no_counterpart_and_says_so(isic, capsys):
    (isic / "ISIC-2017_Test_v2_Data" / "ISIC_Te0.jpg").unlink()
    draw(isic / "ISIC-2017_Training_Data" / "ISIC_stranger.jpg")
    Image.new("L", (4, 4)).save(isic / "ISIC-2017_Training_Part1_GroundTruth" / "ISIC_ghost_segmentation.png")
    found = read(isic, "isic2017")
    assert len(found.rows) == 11
    said = capsys.readouterr().out
    assert "left out 1 ids of" in said
    assert "ISIC_Te0" in said
    assert "left out 1 images without a label" in said
    assert "ISIC_stranger" in said
    assert "left out 1 masks of" in said
    assert "ISIC_ghost" in said


def csv_of(part, folder):
    return folder / f"ISIC-2017_{part}_Part3_GroundTruth.csv"


ISIC_MISTAKES = {
    "no csv": (lambda f: csv_of("Training", f).unlink(), r"Training_Part3_GroundTruth\.csv is missing. Fix: download"),
    "no folder": (
        lambda f: shutil.rmtree(f / "ISIC-2017_Validation_Data"),
        r"Validation_Data is missing. Fix: download",
    ),
    "no column": (
        lambda f: edit(csv_of("Training", f), lambda t: t.drop(columns="melanoma")),
        r"no column 'melanoma'; it has 'image_id', 'seborrheic_keratosis'",
    ),
    "no rows": (lambda f: edit(csv_of("Training", f), lambda t: t[:0]), "has no rows"),
    "unknown label": (
        lambda f: edit(csv_of("Training", f), lambda t: t.assign(melanoma=["2", "x", *t["melanoma"][2:]])),
        r"2 values of 'melanoma' are not among 0, 1\. Fix: correct these rows:\n  ISIC_Tr5: '2'\n  ISIC_Tr4: 'x'",
    ),
    "contradiction": (
        lambda f: edit(
            csv_of("Training", f), lambda t: pd.concat([t, t[:1].assign(melanoma="1", seborrheic_keratosis="0")])
        ),
        r"1 ids have contradicting labels.*\n  ISIC_Tr5",
    ),
    "both kinds": (
        lambda f: edit(csv_of("Training", f), lambda t: t.assign(melanoma="1", seborrheic_keratosis="1")),
        "6 images are a melanoma and a seborrheic keratosis at once",
    ),
    "other images": (
        lambda f: edit(csv_of("Test_v2", f), lambda t: t.assign(image_id=["a", "b", "c"])),
        "none of the 3 ids .* has an image",
    ),
}


@pytest.mark.parametrize("mistake", ISIC_MISTAKES)
def test_isic_says_what_is_wrong(isic, mistake):
    make, says = ISIC_MISTAKES[mistake]
    make(isic)
    with pytest.raises(DataError, match=says):
        read(isic, "isic2017")


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data")


@needs_shared
def test_the_real_isic2017_is_read_whole():
    found = read(SHARED / "isic2017", "isic2017")
    counts = pd.Series([row.split for row in found.rows]).value_counts()
    assert counts.to_dict() == {"train": 2000, "val": 150, "test": 300}
    assert sum(row.label == "melanoma" for row in found.rows if row.split == "train") == 374
    assert sum(row.mask is not None for row in found.rows) == 2150


def test_a_table_gives_the_images_other_splits_and_attributes(isic, capsys):
    lines = [
        "image_id,split,ruler,hair",
        "ISIC_Tr0,train,1,0",
        "ISIC_Tr1,test-other,0,",
        "ISIC_Va0,TEST,1,1",
        "X,val,0,0",
    ]
    (isic / "trap.csv").write_text("\n".join(lines) + "\n")
    found = read(isic, "isic2017", table="trap.csv", attributes=["ruler", "hair"])
    assert {row.name: row.split for row in found.rows} == {
        "ISIC_Tr0": "train", "ISIC_Tr1": "test-other", "ISIC_Va0": "test"
    }  # fmt: skip
    assert [row.attributes for row in found.rows if row.name == "ISIC_Tr1"] == [{"ruler": "0"}]
    assert "names 3 of 12 images, and 1 more that are not there" in capsys.readouterr().out
    (isic / "trap.csv").write_text("image_id,split\nISIC_Tr0,trian\n")
    with pytest.raises(DataError, match=r"1 images have no split\. Fix: correct these rows:\n  ISIC_Tr0"):
        read(isic, "isic2017", table="trap.csv")
