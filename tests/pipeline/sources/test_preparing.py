"""prepare: from originals as they are downloaded to what every later stage reads."""

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes.checkout import ROOT
from PIL import Image

from pipeline.data import prepared, subset
from pipeline.errors import DataError
from pipeline.paths import originals_file, prepared_dir
from pipeline.query.selection import png
from pipeline.stages import prepare

SECRET = "JANE-DOE-1970"


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """Sixty photographs of thirty patients, whose names are in file names, EXIF, comments and the table."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"]["own"] = {
        **{"source": "folder", "root": "raw", "size": 48, "table": "table.csv"},
        **{"columns": {"image": "file", "label": "finding", "group": "patient"}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "raw").mkdir()
    rows = []
    for n in range(60):
        exif = Image.Exif()
        exif[0x9286], exif[0x010E] = SECRET, SECRET  # user comment, description
        picture = np.random.default_rng(n).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        file = f"{SECRET}-{n}.jpg"
        Image.fromarray(picture).save(tmp_path / "raw" / file, exif=exif, comment=SECRET.encode())
        rows.append({"file": file, "finding": "ab"[n // 2 % 2], "patient": f"{SECRET}-{n // 2}"})
    pd.DataFrame(rows).to_csv(tmp_path / "raw" / "table.csv", index=False)
    return tmp_path


def test_nothing_that_tells_a_patient_goes_on(originals):
    prepare.main("own")
    assert sorted(path.name for path in prepared_dir("own").iterdir()) == sorted(
        ["images.npy", "evidence.npy", "sizes.npy", "index.csv", "manifest.json"]
    )
    for path in prepared_dir("own").iterdir():
        assert SECRET.encode() not in path.read_bytes()
    data = prepared.read(prepared_dir("own"))
    images = subset.by_split(data, subset.choose(data, 1.0, seed=0))
    pngs = [png(images["train"].pixels[n]) for n in range(len(images["train"].ids))]
    assert not any(SECRET.encode() in one for one in pngs)
    assert not any(SECRET in image_id for image_id in data.index["id"])
    # Which is which stays in a table of its own, which neither Git nor DVC's cache takes.
    known = pd.read_csv(originals_file("own")).set_index("id")
    assert known["name"].nunique() == 60
    assert known["name"].str.contains(SECRET).all()
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["prepare"]["do"]["outs"]
    assert {"data/originals/${key}.csv": {"cache": False}} in outs
    ignored = subprocess.run(["git", "check-ignore", "-q", "data/originals/x.csv"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_patients_stay_in_one_split_and_every_class_is_in_each(originals):
    prepare.main("own")
    index = pd.read_csv(prepared_dir("own") / "index.csv")
    assert index.groupby("group")["split"].nunique().max() == 1
    assert index["group"].nunique() == 30
    manifest = json.loads((prepared_dir("own") / "manifest.json").read_text())
    assert set(manifest["counts"]) == {"train", "val", "test"}
    assert sum(sum(counts.values()) for counts in manifest["counts"].values()) == 60
    assert all(count for counts in manifest["counts"].values() for count in counts.values())


def test_preparing_again_is_the_same_bytes_and_a_new_image_moves_no_id(originals):
    prepare.main("own")
    first = {path.name: path.read_bytes() for path in prepared_dir("own").iterdir()}
    ids = set(pd.read_csv(prepared_dir("own") / "index.csv")["id"])
    shutil.rmtree(prepared_dir("own"))
    prepare.main("own")
    assert {path.name: path.read_bytes() for path in prepared_dir("own").iterdir()} == first
    Image.new("RGB", (60, 80), "red").save(originals / "raw" / "000.jpg")
    table = pd.read_csv(originals / "raw" / "table.csv")
    new = pd.DataFrame([{"file": "000.jpg", "finding": "a", "patient": "new"}])
    pd.concat([new, table]).to_csv(originals / "raw" / "table.csv", index=False)
    prepare.main("own")
    assert ids < set(pd.read_csv(prepared_dir("own") / "index.csv")["id"])


def test_copies_are_reported_and_contradictions_named(originals, capsys):
    shutil.copy(originals / "raw" / f"{SECRET}-0.jpg", originals / "raw" / "copy.jpg")
    table = pd.read_csv(originals / "raw" / "table.csv")
    new = pd.DataFrame([{"file": "copy.jpg", "finding": "b", "patient": f"{SECRET}-0"}])
    pd.concat([table, new]).to_csv(originals / "raw" / "table.csv", index=False)
    prepare.main("own")
    said = capsys.readouterr().out
    assert "1 images occur with different labels" in said
    assert f"{SECRET}-0.jpg (a), copy.jpg (b)" in said
    manifest = json.loads((prepared_dir("own") / "manifest.json").read_text())
    assert len(manifest["copies"]) == 1
    index = pd.read_csv(prepared_dir("own") / "index.csv").set_index("id")
    assert index.loc[manifest["copies"][0], "split"].nunique() == 1


def test_a_class_that_is_missing_in_a_split_is_named(originals):
    table = pd.read_csv(originals / "raw" / "table.csv")
    split = ["train"] * 40 + ["val"] * 12 + ["test"] * 8
    finding = [("ab"[n % 2] if n < 52 else "a") for n in range(60)]
    table.assign(split=split, finding=finding).to_csv(originals / "raw" / "table.csv", index=False)
    with pytest.raises(DataError, match="no test image of class b"):
        prepare.main("own")
    assert not (prepared_dir("own") / "manifest.json").exists()
