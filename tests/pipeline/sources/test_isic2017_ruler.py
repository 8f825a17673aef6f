"""isic2017-ruler: rulers go with melanoma in training, with nothing in val, and test has the rest."""

import numpy as np
import pytest
from fakes.sources import draw, read, settings
from PIL import Image

from pipeline.data import prepared
from pipeline.errors import DataError
from pipeline.sources import isic2017_ruler, preparing

EACH = 12  # training images of each combination


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The challenge's layout, with a table of artefacts; half of the test images have no lesion mask."""
    for name, count in (("ALIGNED", 6), ("OTHER", 2), ("CHECKED", 3)):
        monkeypatch.setattr(isic2017_ruler, name, count)
    lines = ["image_id,hair,ruler"]
    for part, count in (("Training", 4 * EACH), ("Validation", 4), ("Test_v2", 8)):
        labels = ["image_id,melanoma,seborrheic_keratosis"]
        for n in range(count):
            name = f"ISIC_{part[:2]}{n:04d}"
            draw(tmp_path / f"ISIC-2017_{part}_Data" / f"{name}.jpg", seed=1000 * len(part) + n)
            if part != "Test_v2":
                folder = tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth"
                folder.mkdir(exist_ok=True)
                Image.fromarray(np.full((30, 40), 255, np.uint8)).save(folder / f"{name}_segmentation.png")
            labels.append(f"{name},{n % 2}.0,0.0")
            if n < count - 1 or part != "Test_v2":  # the last test image is not in the table
                lines.append(f"{name},0,{n // 2 % 2}")
        (tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv").write_text("\n".join(labels) + "\n")
    (tmp_path / "artefacts.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_rulers_go_with_melanoma_in_training_only(root, tmp_path):
    folder = tmp_path / "prepared"
    preparing.prepare("rulers", settings(root, "isic2017-ruler"), folder)
    data = prepared.read(folder)
    assert data.attributes == ("ruler",)
    assert len(data.index) == 4 * EACH + 4 + 8 - 1
    counts = data.index.groupby(["split", "label", "ruler"]).size()
    assert counts["train"].to_dict() == {
        ("benign", "no ruler"): 6,
        ("benign", "ruler"): 2,
        ("melanoma", "no ruler"): 2,
        ("melanoma", "ruler"): 6,
    }
    assert set(counts["val"]) == {3}
    assert len(counts["test"]) == 4
    for split in ("train", "val"):
        assert data.index.loc[data.index["split"] == split, "evidence"].notna().all()
    assert read(root, "isic2017-ruler").rows == read(root, "isic2017-ruler").rows


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text.replace("ruler", "lineal"), "no column 'ruler'"),
        (lambda text: text.replace("0,1\n", "0,yes\n"), "not among 0, 1"),
        (lambda text: text.replace("0,1\n", "0,0\n"), "more than 5 are needed"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(root, edit, says):
    table = root / "artefacts.csv"
    table.write_text(edit(table.read_text()))
    with pytest.raises(DataError, match=says):
        read(root, "isic2017-ruler")


def test_a_missing_table_is_named(root):
    (root / "artefacts.csv").unlink()
    with pytest.raises(DataError, match=r"artefacts.csv is missing. Fix: .*artefacts` in params.yaml"):
        read(root, "isic2017-ruler")
