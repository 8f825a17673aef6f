"""The images of a scenario: stratified, nested fractions, and a file that knows its data."""

import subprocess
import sys

import numpy as np
import pytest
from fakes.checkout import ROOT
from fakes.data_set import prepare_data_set

from pipeline.data import prepared, subset
from pipeline.errors import ConfigError, DamagedFileError


def test_fractions_are_stratified_nested_and_leave_other_splits_alone(tmp_path):
    prepare_data_set(tmp_path, train=100)
    data = prepared.read(tmp_path)
    chosen = {f: subset.choose(data, f, seed=0) for f in (0.1, 0.5, 1.0)}
    for fraction, rows in chosen.items():
        counts = rows[rows["split"] == "train"]["label"].value_counts()
        assert counts.to_dict() == {"a": round(50 * fraction), "b": round(50 * fraction)}
        assert (rows["split"] != "train").sum() == 4
    assert set(chosen[0.1]["id"]) < set(chosen[0.5]["id"]) < set(chosen[1.0]["id"])
    assert set(subset.choose(data, 0.1, seed=1)["id"]) != set(chosen[0.1]["id"])


def test_a_fraction_that_leaves_a_class_empty_names_it_and_one_that_does_not(tmp_path):
    prepare_data_set(tmp_path)
    with pytest.raises(ConfigError, match=r"no training image of class a, of which.*at least 0\.1"):
        subset.choose(prepared.read(tmp_path), 0.01, seed=0)


def test_subset_csv_gives_back_the_images_and_knows_its_data(tmp_path):
    prepare_data_set(tmp_path / "data")
    data = prepared.read(tmp_path / "data")
    chosen = subset.choose(data, 0.5, seed=0)
    path = tmp_path / "runs" / "subset.csv"
    subset.write(path, chosen, data)
    again = subset.read(path, data)
    images = subset.by_split(data, again)
    assert set(images) == {"train", "val", "test"}
    for i, image_id in enumerate(images["train"].ids):
        row = data.index.index[data.index["id"] == image_id][0]
        assert np.array_equal(images["train"].pixels[i], data.images[row])
        assert data.classes[int(images["train"].labels[i])] == data.index["label"][row]
    prepare_data_set(tmp_path / "data", train=22)
    with pytest.raises(DamagedFileError, match="chosen from other data"):
        subset.read(path, prepared.read(tmp_path / "data"))
    with pytest.raises(DamagedFileError, match="dvc repro"):
        subset.read(tmp_path / "nowhere.csv", data)
    for damage in (lambda text: text.replace("i1,", "elsewhere,", 1), lambda text: text.replace("label", "x", 1)):
        subset.write(path, chosen, data)
        path.write_text(damage(path.read_text()))
        with pytest.raises(DamagedFileError, match=r"cannot read .*subset\.csv"):
            subset.read(path, data)


def test_subset_csv_is_read_without_torch():
    code = "import sys, pipeline.data.subset; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
