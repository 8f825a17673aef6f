"""Groups: the images with one value of an attribute, their accuracy and recall, and the interval of the lowest."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes.checkout import ROOT
from fakes.data_set import item, prepare_items

from pipeline import config
from pipeline.data import prepared
from pipeline.errors import ConfigError
from pipeline.evaluation import groups, predictions
from pipeline.evaluation.statistics import lowest_share, share_of_images
from pipeline.training import metrics

CLASSES = ["a", "b"]


def data_set(folder, device, count=60):
    """A prepared data set, all in test; ``device``: the value of each image's attribute, or None."""
    items = [item(n, CLASSES[n % 2], "test") for n in range(count)]
    items = [replace(one, attributes={"device": v} if (v := device(n)) else {}) for n, one in enumerate(items)]
    prepare_items(
        folder,
        CLASSES,
        [*items, *(item(1000 + n, CLASSES[n % 2], s) for n, s in enumerate(["train", "train", "val", "val"]))],
    )
    return prepared.read(folder)


def shown(data, split="test"):
    rows = data.index[data.index["split"] == "test"]
    return pd.DataFrame({"image": rows["id"], "split": split, "label": rows["label"]})


@pytest.fixture
def written(tmp_path):
    """Writes predictions: wrong on all of class b from device B, and right elsewhere; returns what is read."""

    def write(data, external=None):
        images = pd.concat(
            [shown(data), *(shown(other, s) for s, other in (external or {}).items())], ignore_index=True
        )
        table = groups.marked(images, ["device"], data, external or {})
        wrong = (table["group.device"] == "B") & (table["label"] == "b")
        found = pd.DataFrame({"hitl.prediction": table["label"].where(~wrong, "a"), "hitl.probability": 0.5})
        predictions.write(tmp_path / "x.csv", table, [found])
        return groups.read(tmp_path / "x.csv", CLASSES, findings=False)["hitl"]

    return write


def test_with_findings_each_finding_has_a_recall(tmp_path):
    labels = ["a", "b", "a|b", ""] * 6
    read = ["a", "b", "a", "b"] * 6  # of the both, b is missed; of none, b is seen
    table = pd.DataFrame({"image": [f"i{n}" for n in range(24)], "split": "test", "label": labels, "group.device": "A"})
    found = pd.DataFrame({"hitl.prediction": read, "hitl.probability": 0.5})
    predictions.write(tmp_path / "x.csv", table, [found])
    (group,) = groups.read(tmp_path / "x.csv", CLASSES, findings=True)["hitl"]["device"]["test"]
    assert group.right.mean() == 0.5
    assert {name: (len(right), right.mean()) for name, right in group.by_class.items()} == {
        "a": (12, 1),
        "b": (12, 0.5),
    }


def test_each_value_has_its_accuracy_and_recalls(tmp_path, written):
    found = written(data_set(tmp_path / "x", lambda n: "B" if n < 24 else None if n < 30 else "A"))["device"]["test"]
    assert [(one.value, len(one.right), one.right.mean()) for one in found] == [
        ("A", 30, 1.0), ("B", 24, 0.5), ("(no value)", 6, 1.0),
    ]  # fmt: skip
    assert {label: (len(right), right.mean()) for label, right in found[1].by_class.items()} == {
        "a": (12, 1),
        "b": (12, 0),
    }
    assert groups.lowest_accuracy(found).value == "B"
    assert (groups.lowest_recall(found).label, groups.lowest_recall(found).value) == ("b", "B")
    assert groups.lowest_recall(found).share.value == 0
    assert groups.scores({"device": {"test": found}}) == {
        "test_by_device-A_accuracy": 1.0, "test_by_device-A_recall_a": 1.0, "test_by_device-A_recall_b": 1.0,
        "test_by_device-B_accuracy": 0.5, "test_by_device-B_recall_a": 1.0, "test_by_device-B_recall_b": 0.0,
        "test_by_device_lowest_accuracy": 0.5, "test_by_device_lowest_recall": 0.0,
    }  # fmt: skip
    assert all(groups.is_score(name, ["device"]) for name in groups.scores({"device": {"test": found}}))
    assert not groups.is_score("test_accuracy_A_a", ["device"])


def test_a_small_group_is_no_candidate_for_the_lowest(tmp_path, written):
    found = written(data_set(tmp_path / "x", lambda n: "B" if n < groups.FEW - 1 else "A"))["device"]["test"]
    assert found[1].right.mean() < 1
    assert groups.lowest_accuracy(found) == groups.lowest_accuracy(found[:1])
    assert groups.lowest_accuracy(found).share.value == 1
    assert groups.lowest_accuracy(found[1:]) is None
    assert groups.FEW == metrics.SMALLEST_GROUP


def test_an_external_set_without_the_attribute_has_no_rows_and_is_named(tmp_path, written, capsys):
    data = data_set(tmp_path / "x", lambda n: "B" if n < 20 else "A")
    found = written(data, {"external-ph2": data_set(tmp_path / "ph2", lambda n: None)})
    assert list(found["device"]) == ["test"]
    assert "ph2 has no attribute 'device', and so no rows for groups" in capsys.readouterr().out
    found = written(data, {"external-ph2": data_set(tmp_path / "ph2", lambda n: "C")})
    assert [one.value for one in found["device"]["external-ph2"]] == ["C"]


def test_an_attribute_with_a_value_for_each_image_makes_no_groups(tmp_path, written):
    with pytest.raises(ConfigError, match=r"'device' of 'x' has 60 values, and at most 20") as error:
        written(data_set(tmp_path / "x", lambda n: f"secret {n}"))
    assert "secret" not in str(error.value)
    data = data_set(tmp_path / "y", lambda n: "A")
    with pytest.raises(ConfigError, match=r"'device' of 'ph2' has 60 values"):
        written(data, {"external-ph2": data_set(tmp_path / "ph2", lambda n: f"secret {n}")})


def test_an_arm_is_not_taken_for_an_attribute(tmp_path):
    table = pd.DataFrame(columns=["image", "group.x.prediction", "hitl.prediction", "hitl.probability"])
    assert predictions.arms(table) == ["hitl"]
    assert predictions.attributes(table) == ["x.prediction"]


def test_the_interval_of_the_lowest_group_holds_the_lowest_true_share():
    """Eight groups that are equally good: the own interval of the group that happens to be lowest is too low."""
    rng, covered, naive, truth = np.random.default_rng(0), 0, 0, 0.7
    for _ in range(200):
        drawn = [rng.random(60) < truth for _ in range(8)]
        found, own = lowest_share(drawn), share_of_images(min(drawn, key=np.mean))
        covered += found.low <= truth <= found.high
        naive += own.low <= truth <= own.high
        assert found.value == min(one.mean() for one in drawn)
    assert covered / 200 >= 0.95
    assert naive / 200 < 0.85, "otherwise the wider intervals would be idle"


def test_one_group_has_wilsons_interval():
    right = np.arange(50) < 40
    assert lowest_share([right]) == share_of_images(right)


@pytest.fixture
def load(tmp_path):
    """Loads params with a data set of one's own, and these groups and attributes."""
    params = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))

    def load(groups, own=None, **more):
        folder = {"source": "folder", "root": "x", "size": 64, "table": "t.csv", **more}
        params["datasets"]["own"] = own or folder
        next(iter(params["scenarios"].values())).update(dataset="own", groups=groups)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        return config.load(tmp_path / "params.yaml")

    return load


def test_groups_that_the_data_do_not_have_are_named_before_anything_runs(load):
    load(["device"], attributes=["site", "device"])
    with pytest.raises(
        ConfigError, match=r"params.yaml: scenarios\..*\.groups: 'devcie' .* attributes are site, device. Fix: "
    ):
        load(["devcie"], attributes=["site", "device"])
    with pytest.raises(
        ConfigError, match=r"'device' is no attribute of 'own'; it has no attributes.*datasets\.own\.attrib"
    ):
        load(["device"])
    with pytest.raises(ConfigError, match=r"'site' is there twice"):
        load(["site", "site"], attributes=["site"])


def test_a_data_set_with_an_attribute_of_its_own_may_have_groups(load):
    params = {"source": "isic2017-ruler", "root": "x", "size": 64}
    (scenario,) = load(["ruler"], own=params).scenarios.values()
    assert scenario.groups == ["ruler"]
    with pytest.raises(ConfigError, match=r"'hair' is no attribute of 'own'; its attributes are ruler"):
        load(["hair"], own=params)


def test_a_change_of_groups_trains_nothing():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = {name: stage.get("do", stage).get("params", []) for name, stage in stages.items()}
    reading = {name for name, listed in params.items() if {"scenarios", "scenarios.${key}"} & set(listed)}
    assert reading == {"evaluate", "compare"}
    assert not [name for name, listed in params.items() if "groups" in " ".join(listed)]
