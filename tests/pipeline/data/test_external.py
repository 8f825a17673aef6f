"""External test sets: other data sets with mapped classes, unseen images and patients; only `evaluate` reads them."""

import copy
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes import small
from fakes.checkout import ROOT
from fakes.data_set import prepare_items

from pipeline import config
from pipeline.data import external, own_csv, prepared, subset
from pipeline.data.prepared import Item, patient_digest
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation import predictions, scores
from pipeline.paths import originals_file, prepared_dir
from pipeline.training import inference, states
from pipeline.training.metrics import classification


@pytest.fixture
def params():
    """The shipped params with a second data set, which is an external set of the scenario."""
    params = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))
    params["datasets"]["ph2"] = {"source": "folder", "root": "data/raw/ph2", "size": 64}
    scenario(params)["external"] = ["ph2"]
    return params


def scenario(params):
    return next(iter(params["scenarios"].values()))


def load(folder, params):
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return config.load(folder / "params.yaml")


MISTAKES = {
    "unknown": (lambda p: scenario(p).update(external=["ph3"]), r"external: 'ph3' is no data set\. Fix: choose one of"),
    "its own": (lambda p: scenario(p).update(external=["decoy-digits"]), r"'decoy-digits' is trained on, by this"),
    "twice": (lambda p: scenario(p).update(external=["ph2", {"dataset": "ph2"}]), r"'ph2' is there twice"),
    "another size": (lambda p: p["datasets"]["ph2"].update(size=96), r"images of 96 pixels a side, and 'decoy-digits'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_external_set_that_cannot_be_one_is_named(tmp_path, params, mistake):
    change, says = MISTAKES[mistake]
    load(tmp_path, params)
    change(params)
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, params)


def test_a_set_that_trained_the_starting_weights_is_none(tmp_path, params):
    (name, own), *_ = params["scenarios"].items()
    before = {**copy.deepcopy(own), "dataset": "ph2", "external": []}
    params["scenarios"] |= {"before": before, "after": {**copy.deepcopy(own), "init": f"runs/{name}/03/state.pt"}}
    load(tmp_path, params)
    own["init"] = "runs/before/start/state.pt"
    with pytest.raises(ConfigError, match=r"'ph2' is trained on, by this scenario or for its `init`"):
        load(tmp_path, params)
    own["external"] = []
    with pytest.raises(ConfigError, match=r"scenarios\.after\.external: 'ph2' is trained on"):
        load(tmp_path, params)


def test_only_evaluate_reads_the_data_sets_of_others():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    reading = {name for name, stage in stages.items() if "data/prepared" in stage.get("do", stage)["deps"]}
    assert reading == {"evaluate"}
    for name, stage in stages.items():
        own = [dep for dep in stage.get("do", stage)["deps"] if dep.startswith("data/prepared/")]
        known = {"baseline": ["data/prepared/${item.dataset}"], "screen": ["data/prepared/${key}"]}
        assert own == known.get(name, []), name
    naming = {path.parts[-2:] for path in (ROOT / "pipeline").rglob("*.py") if "external.read(" in path.read_text()}
    assert naming == {("stages", "evaluate.py")}


def image(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def sets(tmp_path, monkeypatch, params):
    """Writes both data sets and tables of originals with these groups, and returns the settings and the scenario's."""
    monkeypatch.chdir(tmp_path)

    def write(theirs=("benign", "malignant"), groups=("Q1", "Q2"), seeds=(50, 51), **settings):
        own = [Item(f"{n:012x}", "ab"[n % 2], ("train", "val", "test")[n // 2 % 3], image(n), None) for n in range(12)]
        others = [
            Item(f"{seed:012x}", theirs[n], "test", image(seed), None, group=groups[n]) for n, seed in enumerate(seeds)
        ]
        for name, classes, items, patients in (
            ("decoy-digits", ["a", "b"], own, [f"P{n}" for n in range(12)]),
            ("ph2", sorted(set(theirs)), others, groups),
        ):
            shutil.rmtree(prepared_dir(name), ignore_errors=True)
            prepare_items(prepared_dir(name), classes, items)
            ids = [item.name for item in items]
            originals_file(name).parent.mkdir(parents=True, exist_ok=True)
            own_csv.write(originals_file(name), pd.DataFrame({"id": ids, "name": ids, "group": patients}))
        scenario(params)["external"] = [{"dataset": "ph2", **settings}]
        loaded = load(tmp_path, params)
        return loaded, next(iter(loaded.scenarios)), prepared.read(prepared_dir("decoy-digits"))

    return write


MAPPED = {"classes": {"benign": "a", "malignant": "b"}}


def test_classes_are_mapped_or_left_out(sets, capsys):
    found = external.read(*sets(**MAPPED))["external-ph2"]
    assert found.classes == ["a", "b"]
    assert found.index["label"].tolist() == ["a", "b"]
    found = external.read(*sets(classes={"benign": "b", "malignant": None}))["external-ph2"]
    assert found.index["label"].tolist() == ["b"]
    assert "external-ph2: 1 images of classes that are null are left out" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"'ph2' has classes .*\{benign: a\}.*\n  benign → benign\n  malignant → mal"):
        external.read(*sets())
    with pytest.raises(ConfigError, match=r"maps classes that 'ph2' does not have: naevus\. Fix: .*benign, malignant"):
        external.read(*sets(classes={"naevus": "a"}))
    with pytest.raises(ConfigError, match="leaves no image of 'ph2'"):
        external.read(*sets(classes={"benign": None, "malignant": None}))


def test_a_patient_who_is_in_both_is_an_error_that_names_no_patient(sets, capsys):
    with pytest.raises(
        DataError, match=r"1 images .* of patients who are in 'decoy-digits' too.*\n  000000000032$"
    ) as e:
        external.read(*sets(groups=("P7", "Q2"), **MAPPED))
    assert "P7" not in str(e.value)
    with pytest.raises(DataError, match=r"2 images .* of patients"):
        external.read(*sets(groups=(f"lesion-4 + {patient_digest('p3 ')}", "P1"), **MAPPED))
    assert "not compared" not in capsys.readouterr().out
    settings = sets(groups=(None, None), **MAPPED)
    external.read(*settings)
    assert "warning: patients of 'ph2' and 'decoy-digits' are not compared" in capsys.readouterr().out
    originals_file("decoy-digits").unlink()
    external.read(*settings)
    assert "not compared" in capsys.readouterr().out


def test_an_image_that_is_in_both_is_an_error(sets):
    with pytest.raises(
        DataError, match=r"1 images of the external set 'ph2' are in 'decoy-digits' too.*\n  00000000000"
    ):
        external.read(*sets(seeds=(3, 51), **MAPPED))


def test_a_set_without_training_images_trains_nothing(sets):
    sets()
    with pytest.raises(ConfigError, match=r"ph2 has no training images\. Fix: name it as `external` in a scenario"):
        subset.choose(prepared.read(prepared_dir("ph2")), 1.0, 0)


def test_the_scores_of_an_external_set_are_its_own(sets, tmp_path):
    loaded, name, data = sets(
        seeds=tuple(range(50, 70)), theirs=("benign", "malignant") * 10, groups=["Q"] * 20, **MAPPED
    )
    state = states.begin(small.network(["a", "b"]), small.TRAIN)
    splits = subset.by_split(data, subset.choose(data, 1.0, 0))
    outside = external.read(loaded, name, data)
    found = scores.evaluate_arm(
        state, arm="hitl", history=pd.DataFrame({"step": ["00"], "val_loss": [0.5]}), data=data, splits=splits,
        probes=splits["val"], disregarded={}, settings=loaded.scenario(name).query.explain, external=outside,
    )  # fmt: skip
    images = subset.whole(outside["external-ph2"])
    expected = dict(classification(inference.logits(state, images.pixels), images.labels))
    assert {name: found.scores[f"external-ph2_{name}"] for name in expected} == expected
    assert {"external-ph2_recall_a", "external-ph2_worst_group_accuracy"} <= set(found.scores)
    rows = predictions.images(splits | {"external-ph2": images}, data.classes)
    predictions.write(tmp_path / "x.csv", rows, [found.predictions])
    read = predictions.read(tmp_path / "x.csv")["hitl"]
    assert list(read) == ["val", "test", "external-ph2"]
    assert read["external-ph2"].right.mean() == expected["accuracy"]
