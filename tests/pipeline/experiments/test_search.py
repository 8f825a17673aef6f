"""The search: it reads no test images, and its table has every trial."""

import json

import numpy as np
import pandas as pd
import torch

from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.experiments import search, tables


def images(*ids):
    return Images(list(ids), np.zeros((len(ids), 8, 8, 3), np.uint8), torch.zeros(len(ids), dtype=torch.long))


def test_a_search_never_sees_test_images(tmp_path):
    splits = {"train": images("a"), "val": images("v"), "test": images("t"), "test-shifted": images("u")}
    index = pd.DataFrame({"id": list("abcvt"), "label": "x", "split": ["train"] * 3 + ["val", "test"], "row": range(5)})
    data = Prepared(tmp_path, ["x"], index, np.zeros((5, 8, 8, 3), np.uint8), "digest")
    kept, read_on = search.held_out(splits, data)
    assert (list(kept), read_on) == (["train", "val", "spare"], "spare")
    assert kept["spare"].ids == ["b", "c"], "training images that the scenario left out"
    kept, read_on = search.held_out(splits | {"val-shifted": images("w")}, data)
    assert (list(kept), read_on) == (["train", "val", "val-shifted"], "val-shifted")
    full = splits | {"train": images("a", "b", "c")}
    assert search.held_out(full, data)[1] == "val"


def test_a_search_shows_all_that_was_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    tried = search.SEARCHES["decoy-digits"].finalists[0]
    for seed, accuracy in enumerate((0.8, 0.9, 0.85)):
        found = {arm: {"score": accuracy, "min_loss": 0.5} for arm in search.SEARCHES["decoy-digits"].arms}
        place = search.path("decoy-digits", tried, seed)
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({"read on": "val-shifted", "score": "balanced_accuracy", "arms": found}))
    table = search.table("decoy-digits")
    assert table.title.endswith("on val-shifted")
    assert [row[:6] for row in table.rows] == [["eq2", "projection", "0.001", "frozen", "entropy, 1+1+1+7", "3"]]
    assert table.rows[0][6].startswith("0.850 [")


def test_a_search_says_what_else_it_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    for tried in search.LESIONS[:3]:
        found = {arm: {"score": 0.7, "min_loss": 0.5} for arm in search.ARMS}
        place = search.path("isic2017", tried, 0)
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({"read on": "spare", "score": "auc", "arms": found}))
    said = [row[4] for row in search.table("isic2017").rows]
    assert said == ["entropy, 1+1+1+1+4", "random, 1+1+1+1+4", "entropy, 1+1+1+1+12"]


def test_a_search_without_new_trials_writes_its_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "FOLDER", tmp_path / "tables")
    for tried, seed in search.SEARCHES["decoy-mnist-20pct"].trials():
        place = search.path("decoy-mnist-20pct", tried, seed)
        place.parent.mkdir(exist_ok=True)
        arms = {"hitl": {"score": 0.7, "min_loss": 0.5}}
        place.write_text(json.dumps({"read on": "val-shifted", "score": "balanced_accuracy", "arms": arms}))
    search.main(["decoy-mnist-20pct"], jobs=1)
    assert capsys.readouterr().out == "0 of 4 trials to run\n"
    text = (tmp_path / "tables" / "search.md").read_text()
    assert text.startswith("**decoy-mnist-20pct: balanced accuracy of the last epoch")
    assert text.count("| share |") == 4
