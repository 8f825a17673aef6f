"""aptos2019: the official layout, evidence from masks and from the fundus, and mistakes."""

import shutil

import numpy as np
import pandas as pd
import pytest
from fakes.checkout import SHARED
from fakes.sources import edit, labels, read
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import aptos2019, originals


@pytest.fixture
def aptos(tmp_path):
    rows = []
    for n in range(10):
        fundus = np.zeros((60, 80, 3), np.uint8)
        y, x = np.mgrid[:60, :80]
        fundus[(y - 30) ** 2 + (x - 40) ** 2 < 25**2] = (180 - n, 80, 40)
        (tmp_path / "train_images").mkdir(exist_ok=True)
        Image.fromarray(fundus).save(tmp_path / "train_images" / f"eye{n}.png")
        rows.append({"id_code": f"eye{n}", "diagnosis": n % 5})
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "train.csv", index=False)
    lesions = np.zeros((60, 80), np.uint8)
    lesions[25:35, 35:45] = 255
    (tmp_path / "lesions").mkdir()
    Image.fromarray(lesions).save(tmp_path / "lesions" / "eye3.png")
    return tmp_path


def test_aptos_evidence_is_a_mask_where_there_is_one_and_else_the_fundus(aptos):
    found = read(aptos, "aptos2019", masks="lesions")
    assert found.classes == ["0", "1", "2", "3", "4"]
    assert labels(found)["eye7"] == "2"
    assert {row.split for row in found.rows} == {None}
    evidence = {item.name: item.evidence for item in originals.items(found, 80, "stretch")}
    assert evidence["eye3"].mean() == pytest.approx(100 / 4800, rel=0.2)
    assert evidence["eye4"].mean() == pytest.approx(np.pi * 25**2 / 4800, rel=0.1)
    assert not evidence["eye4"][:8].any()


def test_a_picture_without_a_fundus_is_all_evidence():
    assert aptos2019.disc(np.zeros((40, 40, 3), np.uint8)).all()
    spot = np.zeros((40, 40, 3), np.uint8)
    spot[3:9, 3:9] = 200
    assert aptos2019.disc(spot).all()


def test_aptos_says_what_is_wrong(aptos, tmp_path):
    with pytest.raises(DataError, match="leads out of the data folder"):
        read(aptos, "aptos2019", masks="../elsewhere")
    edit(aptos / "train.csv", lambda t: t.assign(diagnosis=["5", "1.5", *t["diagnosis"][2:]]))
    with pytest.raises(DataError, match=r"2 values of 'diagnosis'.*\n  eye9: '5'\n  eye8: '1\.5'"):
        read(aptos, "aptos2019")
    shutil.rmtree(aptos / "train_images")
    with pytest.raises(DataError, match=r"kaggle"):
        read(aptos.parent / "nowhere", "aptos2019")


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data")


@needs_shared
def test_real_fundus_photographs_are_read_whole_and_their_disc_is_found():
    found = read(SHARED / "idrid-in-aptos2019-layout", "aptos2019", masks="evidence_masks")
    assert len(found.rows) == 516
    some = originals.Originals(found.classes, [row for row in found.rows if row.mask is None][:12], aptos2019.disc)
    areas = [item.evidence.mean() for item in originals.items(some, 96, "stretch")]
    assert all(0.4 < area < 0.95 for area in areas)
