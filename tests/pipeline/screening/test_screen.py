"""Screening of a prepared data set: confounders are named, held-out images stay unread, nobody is named."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from fakes.checkout import ROOT

from pipeline.data import prepared
from pipeline.data.prepared import Item
from pipeline.errors import DamagedFileError
from pipeline.paths import prepared_dir, screening_file
from pipeline.report import screening
from pipeline.screening import auc
from pipeline.screening.screen import TOO_FEW, screen
from pipeline.stages import screen as stage

SIZE = 32
COUNT = 200


def items(*, seed=0, count=COUNT):
    """Images of class b come mostly from device B, which takes warm pictures; `sex` and `nurse` say nothing."""
    rng = np.random.default_rng(seed)
    for n in range(count + 40):
        label = "ab"[n % 2]
        device = "B" if rng.random() < (0.8 if label == "b" else 0.2) else "A"
        picture = rng.integers(0, 200, (SIZE, SIZE, 3))
        picture[..., 0] += 40 if device == "B" else 0
        split = "train" if n < count else ("val", "test")[n // 2 % 2]
        attributes = {"device": device, "sex": "fm"[int(rng.integers(2))], "nurse": f"Jane Doe {n}", "centre": "Rome"}
        yield Item(f"i{n}", label, split, picture.astype(np.uint8), None, f"p{n // 2 % 90}", attributes)


def prepare(found, folder=None):
    found, folder = list(found), folder or prepared_dir("own")
    table = prepared.write_arrays(folder, count=len(found), size=SIZE, items=iter(found))
    labels = sorted({item.label for item in found})
    prepared.write_index(folder, name="own", classes=labels, table=table.assign(id=prepared.pseudonyms(table)))
    return prepared.read(folder)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def readings(found):
    return {one["name"]: one for one in found["readings"]}


def test_an_image_with_findings_counts_as_of_its_rarest_one():
    both = (
        replace(item, label="a|b" if item.label == "b" else "" if n % 8 in (0, 2) else "a")
        for n, item in enumerate(items())
    )
    found, labels = list(both), prepared_dir("own")
    table = prepared.write_arrays(labels, count=len(found), size=SIZE, items=iter(found))
    table = table.assign(id=prepared.pseudonyms(table))
    prepared.write_index(labels, name="own", classes=["a", "b"], table=table, findings=True)
    result = screen(prepared.read(labels))
    assert result["classes"] == ["a", "b", "no finding"]
    device = next(row for row in result["readings"] if row["name"] == "`device`")
    assert device["predicts"]
    assert sum(row["images"]["b"] for row in device["values"]) == COUNT / 2
    assert "The class of an image is its rarest finding here." in screening.sentences(result)


def test_a_confounder_is_named_and_the_rest_is_not():
    found = screen(prepare(items()))
    of = readings(found)
    named = {name for name, one in of.items() if one["predicts"]}
    assert named == {"`device`", "red to green", "blue to yellow", "brightness"}, "all but `device` follow from it"
    assert of["`device`"]["auc"] == pytest.approx(0.8, abs=0.07)
    assert of["`device`"]["low"] < of["`device`"]["auc"] < of["`device`"]["high"]
    assert list(of) == sorted(of, key=lambda name: -of[name]["auc"])
    assert set(found["left_out"]) == {"`nurse`", "`centre`"}
    assert (found["images"], found["patients"], found["few"]) == (COUNT, True, [])
    shares = {row["value"]: row["images"] for row in of["`device`"]["values"]}
    assert sum(shares["A"].values()) + sum(shares["B"].values()) == COUNT
    first, *others = screening.sentences(found)
    (device,) = (line for line in others if line.startswith("`device`"))
    assert first == f"own: 4 of {len(of)} readings predict the class by themselves."
    assert " alone predicts the class with AUC 0." in device
    assert "Class b: " in device or "Class a: " in device
    assert "Look for what tells the values of `device` apart." in device


def test_the_same_data_give_the_same_screening():
    assert screen(prepare(items())) == screen(prepare(items()))


def test_held_out_images_change_no_reading():
    first = readings(screen(prepare(items())))
    swapped = [
        item
        if item.split == "train"
        else replace(item, image=255 - item.image, attributes={**item.attributes, "device": "C"})
        for item in items()
    ]
    assert readings(screen(prepare(swapped))) == first
    other = [replace(item, label="ab"["ba".index(item.label)]) if item.name == "i0" else item for item in items()]
    assert readings(screen(prepare(other))) != first, "otherwise training images would count for nothing either"


def test_nobody_is_named(capsys):
    prepare(items())
    stage.main("own")
    written = "".join(path.read_text() for path in screening_file("own").parent.iterdir())
    assert not [name for name in ("Jane", "Doe", "i199", "p89") if name in written + capsys.readouterr().out]
    assert "<code>nurse</code>: each value has one patient only" in written


def test_near_duplicates_count_where_they_matter():
    some = list(items())
    copies = [
        replace(some[0], name="same", label="b"),  # one picture, two classes
        replace(some[3], name="leak", split="test", image=np.clip(some[3].image + 9, 0, 255).astype(np.uint8)),
        replace(some[5], name="twice"),
    ]
    found = screen(prepare([*some, *copies]))["near_duplicates"]
    assert (found["pairs"], found["train"], found["train_and_held_out"], found["contradicting"]) == (3, 2, 1, 1)
    assert [one["splits"] for one in found["shown"]] == [["train", "train"], ["train", "test"]]
    assert [one["labels"] for one in found["shown"]] == [["a", "b"], ["b", "b"]]
    assert found["shown"][0]["ids"][1] == found["shown"][0]["ids"][0] + "-2"


def test_a_rare_class_and_a_small_data_set_are_said_to_be_so():
    rare = [replace(item, label="c") if item.name in ("i0", "i1", "i200", "i202") else item for item in items()]
    assert screen(prepare(rare))["few"] == ["c"]
    few = [item for item in items() if item.split != "train" or int(item.name[1:]) < 12]
    found = screen(prepare(few))
    assert found["readings"] == []
    assert set(found["left_out"].values()) >= {TOO_FEW}
    assert "no reading could be compared" in screening.sentences(found)[0]
    screening.html(found)


def test_a_set_without_training_images_has_near_duplicates_only():
    found = screen(prepare(item for item in items() if item.split != "train"))
    assert (found["images"], found["readings"], found["left_out"]) == (0, [], {})
    screening.html(found)


def test_the_stage_writes_json_and_a_page_that_stands_alone():
    prepare(items())
    stage.main("own")
    page = screening_file("own").with_suffix(".html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<svg") == len(json.loads(screening_file("own").read_text())["readings"])
    first = {path: path.read_bytes() for path in screening_file("own").parent.iterdir()}
    stage.main("own")
    assert {path: path.read_bytes() for path in screening_file("own").parent.iterdir()} == first
    with pytest.raises(DamagedFileError, match=r"data/prepared/other is no whole prepared data set"):
        stage.main("other")


def test_values_of_the_table_are_escaped():
    evil = [replace(i, attributes={"device": i.attributes["device"].replace("A", "<b>A</b>")}) for i in items()]
    page = screening.html(screen(prepare(evil)))
    assert "&lt;b&gt;A" in page
    assert "<b>A" not in page


def test_with_many_classes_a_value_has_its_most_frequent_one():
    many = [replace(item, label="cdefgh"[n % 6]) for n, item in enumerate(items())]
    many = [replace(i, image=np.full_like(i.image, 30 * "cdefgh".index(i.label))) for i in many]
    found = screen(prepare(many))
    assert readings(found)["brightness"]["auc"] > 0.95
    assert "Most frequent class" in screening.html(found)


def test_the_stage_starts_without_torch_and_scikit_learn():
    code = "import sys, pipeline.stages.screen; print({'torch', 'sklearn', 'scipy', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def test_two_patients_are_too_few():
    found = screen(prepare(replace(item, group="pq"[int(item.name[1:]) % 2]) for item in items()))
    assert found["readings"] == []
    assert set(found["left_out"].values()) >= {TOO_FEW}


def test_a_reading_with_many_values_needs_little_memory(monkeypatch):
    some = [replace(item, attributes={"site": str(n % 15)}) for n, item in enumerate(items())]
    first = screen(prepare(some))
    monkeypatch.setattr(auc, "AT_ONCE", 1)
    assert screen(prepare(some)) == first


def test_it_is_known_before_anything_is_trained():
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert stages[:2] == ["prepare", "screen"], "DVC runs a stage that could run in the order of dvc.yaml"
