"""The experiments' catalogue, what is kept of a cell, and what the tables say of it."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from dvc.utils.hydra import apply_overrides

from pipeline.config import load
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.evaluation.figures import save
from pipeline.experiments import catalogue, cells, search, sweep, tables
from pipeline.experiments.catalogue import EXPERIMENTS, Experiment, Metric


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_has_settings_of_its_own_that_are_valid(name):
    about = EXPERIMENTS[name]
    config = catalogue.settings(name, next(iter(about.variants)), seed=3)
    assert (config.seed, config.hitl.scenarios) == (3, [about.scenario])
    digests = {cells._digest(name, v, seed) for v in about.variants for seed in (0, 1)}
    assert len(digests) == 2 * len(about.variants)
    assert len({cells.path(name, v, 0) for v in about.variants}) == len(about.variants)


def test_rounds_share_out_the_queries():
    changes = catalogue.rounds(50, [1, 1, 4])
    assert [(r["n"], r["after"], r["queries"], r["epochs"]) for r in changes["hitl.rounds"]] == [
        ("00", "start", 17, 1), ("01", "00", 17, 1), ("02", "01", 16, 4)
    ]  # fmt: skip
    assert changes["hitl.last"] == "02"


def cell(accuracy, shifted, arm_of=lambda arm: 0.0):
    """A result with two arms that differ by 0.1 where the shortcut misleads."""
    arms = {}
    for arm, gain in (("baseline", 0.0), ("automated", 0.0), ("hitl", 0.1), ("random-mask", arm_of("random-mask"))):
        read = {
            "test_accuracy": accuracy,
            "test-shifted_accuracy": shifted + gain,
            "test-shifted_loss": 1 - shifted - gain,
        }
        numbers = read | {"marked_deeplift": 0.25 - gain}
        curve = {"columns": ["epoch", "step", *read], "data": [[1, "00", *read.values()]]}
        right = {"test-shifted": "ff" if arm == "hitl" else "00"}
        arms[arm] = {"numbers": numbers, "right": right, "curve": curve}
    return {"minutes": 2.0, "looks": ["deeplift", "grad-cam"], "rounds": [["00", 20, 120.0]], "arms": arms}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment of two seeds, in a folder of its own."""
    monkeypatch.setitem(
        EXPERIMENTS,
        "tiny",
        Experiment("?", "decoy-digits-20pct", 1, catalogue.SHORTCUT, ("automated", "hitl", "random-mask"), seeds=3),
    )
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    for seed, accuracy in enumerate((0.90, 0.92, 0.94)):
        found = cell(accuracy, accuracy - 0.4, lambda arm, seed=seed: 0.02 * (seed - 1))
        path = cells.path("tiny", "", seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found | {"settings": cells._digest("tiny", "", seed)}))
    return tmp_path


def rows_of(text, title):
    """The rows of the table with this title: first cell → the others."""
    _, found, table = text.partition(f"**{title}**\n")
    assert found, f"no table {title!r}"
    lines = [line for line in table.strip().split("\n\n")[0].splitlines() if not line.startswith("| ---")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def test_tables_pair_arms_by_seed_and_say_where_nothing_is_shown(experiment):
    text = tables.tables("tiny")
    hitl = rows_of(text, "Every arm")["hitl"]
    assert hitl[0].startswith("92.0 [")
    assert hitl[3].startswith("25 [")
    against = rows_of(text, "Each arm minus `automated`")
    assert "automated" not in against
    assert against["hitl"][1] == "+10.0 [+10.0, +10.0]", "the same in every seed"
    assert against["hitl"][2] == "-0.10 [-0.10, -0.10]"
    assert against["hitl"][4] == "0.0078, 0.0078, 0.0078"
    assert against["random-mask"][0].endswith(": no difference shown")
    assert list(rows_of(text, "`hitl` minus each placebo")) == ["Placebo", "random-mask"]
    assert rows_of(text, "Results after each round")["20"][0] == "2.0", "twenty answers took two minutes"
    attention = rows_of(text, "Attention inside the marks, %, `hitl` minus another arm")
    assert attention["automated"] == ["-10.0 [-10.0, -10.0]"]
    assert "3 seeds, 2 min each" in text


def test_a_table_has_at_most_six_columns_to_compare(experiment, monkeypatch):
    wide = tuple(replace(catalogue.AUC, title=f"m{n}", of=lambda arm, _: arm["test_accuracy"]) for n in range(7))
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(EXPERIMENTS["tiny"], metrics=wide))
    text = tables.tables("tiny")
    assert rows_of(text, "Every arm (1 of 2)")["Arm"] == ["m0", "m1", "m2", "m3"]
    assert rows_of(text, "Every arm (2 of 2)")["Arm"] == ["m4", "m5", "m6"]
    assert "**Every arm**" not in text


def test_variants_are_held_to_the_first_seed_by_seed(experiment, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(EXPERIMENTS["tiny"], variants={"a": {}, "b": {}}, looks=()))
    monkeypatch.setattr(cells, "_digest", lambda name, variant, seed: variant)
    for variant, more, minutes in (("a", 0.0, 2.0), ("b", 0.02, 5.0)):
        for seed, shifted in enumerate((0.5, 0.6, 0.55)):
            found = cell(0.9, shifted + more) | {"settings": variant, "minutes": minutes}
            cells.path("tiny", variant, seed).write_text(json.dumps(found))
    text = tables.tables("tiny")
    assert "3 seeds, 2 to 5 min a seed of each variant." in text
    less = rows_of(text, "`hitl` in each variant minus `hitl` in 'a'")
    assert less["b"][:3] == ["0.0 [0.0, 0.0]: no difference shown", "+2.0 [+2.0, +2.0]", "-0.02 [-0.02, -0.02]"]
    assert list(less) == ["Variant", "b"]
    shares = rows_of(text, "`hitl` minus `automated`, in percent of that difference in 'a'")
    assert shares["b"] == ["", "100%", "100%", "106%"], "accuracy on test does not differ from `automated`"


def test_a_cell_with_other_settings_counts_as_not_run(experiment):
    assert cells.result("tiny", "", 0) is not None
    path = cells.path("tiny", "", 0)
    path.write_text(path.read_text().replace(cells._digest("tiny", "", 0), "other"))
    assert cells.result("tiny", "", 0) is None
    assert "2 seeds, 2 min each" in tables.tables("tiny")


def test_a_cell_that_was_interrupted_says_nothing_of_what_one_costs(experiment):
    for seed, minutes in enumerate((None, 4.0, None)):
        path = cells.path("tiny", "", seed)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"minutes": minutes}))
    assert "3 seeds, 4 min each." in tables.tables("tiny")
    path = cells.path("tiny", "", 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minutes": None}))
    assert "3 seeds." in tables.tables("tiny")


def test_a_cell_that_ran_for_another_experiment_is_not_run_again(experiment, monkeypatch):
    for name, arms in (("smaller", ("automated", "hitl")), ("larger", ("automated", "hitl", "weight-decay"))):
        of = Experiment("?", "decoy-digits-20pct", 1, catalogue.SHORTCUT, arms, seeds=3)
        monkeypatch.setitem(EXPERIMENTS, name, of)
    assert cells.result("smaller", "", 1) == cells.result("tiny", "", 1)
    assert cells.result("larger", "", 1) is None, "an arm is missing"
    monkeypatch.setitem(EXPERIMENTS, "smaller", replace(EXPERIMENTS["smaller"], looks=("integrated-gradients",)))
    assert cells.result("smaller", "", 1) is None, "an explainer is missing"
    assert cells._digest("budget", "100 answers", 1) == cells._digest("crowds", "one, right", 1)
    assert cells._digest("budget", "100 answers", 1) == cells._digest("strategies", "entropy", 1)
    assert cells._digest("budget", "100 answers", 1) == cells._digest("decoy-digits", "", 1)


def test_each_experiment_has_a_file_of_tables(experiment, monkeypatch):
    folder = experiment / "tables"
    monkeypatch.setattr(tables, "FOLDER", folder)
    tables.write(["tiny"])
    text = (folder / "tiny.md").read_text()
    assert text.startswith("`lookaway experiments tiny`: 3 seeds")
    assert text.endswith("|\n")
    assert [path.name for path in folder.iterdir()] == ["tiny.md"]
    tables.write(["decoy-digits"])
    assert (folder / "decoy-digits.md").read_text() == "`lookaway experiments decoy-digits`: not run yet.\n"


def test_the_papers_table_stands_beside_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    place = cells.path("paper-isic2017", "", 0)
    place.parent.mkdir()
    arms = ("baseline", "automated", "hitl", "random-mask")
    found = {arm: {"numbers": {"val_accuracy": 0.8, "min_loss": 0.1 * n}} for n, arm in enumerate(arms)}
    digest = cells._digest("paper-isic2017", "", 0)
    place.write_text(json.dumps({"settings": digest, "looks": ["deeplift", "grad-cam"], "arms": found}))
    isic, aptos = tables.beside_the_paper().rows
    assert isic[1:3] == ["85.91, 0.52", "83.87, 0.47"]
    assert [text.split(", ")[-1] for text in isic[3:]] == ["0.100", "0.200", "0.300"]
    assert aptos[3] == "not run yet"


def test_a_metric_of_the_experiments_is_worked_out_by_hand():
    closed = catalogue.HARM
    arm = {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8}
    automated = {"test_accuracy": 1.0, "test-shifted_accuracy": 0.6}
    assert closed.of(arm, automated) == pytest.approx(0.75)
    assert isinstance(closed, Metric)
    worst = catalogue.MNIST[2]
    assert worst.of({"test-shifted_recall_3": 0.7, "test-shifted_recall_4": 0.6, "test_recall_1": 0.1}, {}) == 0.6


@pytest.mark.parametrize("setting", sweep.SWEEPS)
def test_dvc_understands_every_value_of_a_sweep(setting, tmp_path):
    path = tmp_path / "params.yaml"
    scenario = load().hitl.scenarios[0]
    found = []
    for settings in sweep.SWEEPS[setting].values():
        shutil.copy("params.yaml", path)
        apply_overrides(path, sweep.changes(scenario, settings | sweep.ALL | {"seed": 3}))
        config = load(path)
        assert (config.seed, config.hitl.placebos) == (3, [])
        assert sum(entry.queries for entry in config.hitl.rounds) == sweep.QUERIES
        assert sum(entry.epochs for entry in config.hitl.rounds) == sweep.EPOCHS
        found.append((config.scenario(scenario).model_dump_json(), config.hitl.model_dump_json()))
    assert len(set(found)) == len(found), "each value is another experiment"
    as_it_is = load().hitl.model_copy(update={"placebos": []})
    assert found.count((load().scenario(scenario).model_dump_json(), as_it_is.model_dump_json())) == 1
    names = {sweep._name(setting, value, seed) for value in sweep.SWEEPS[setting] for seed in (0, 1)}
    assert len(names) == 2 * len(found)


def test_the_sweeps_table_and_picture_show_every_value(tmp_path):
    arm = {"test_accuracy": 1.0, "test-shifted_accuracy": 0.6}
    metrics = {"automated": arm, "hitl": arm | {"test-shifted_accuracy": 0.8}}
    found = {
        sweep._name(setting, value, seed): metrics
        for setting, values in sweep.SWEEPS.items()
        for value in values
        for seed in (0, 1)
    }
    found |= {sweep._name("lambda", "1e-4", seed): {"automated": arm, "hitl": arm} for seed in (0, 1)}
    text = sweep.table("s", 2, found)
    assert "| lambda | 1e-4 | 0 [0, 0] | -50 [-50, -50] |" in text
    assert text.count("| 50 [50, 50] |  |") == len(sweep.SWEEPS), "what is as it is, is compared with nothing"
    others = sum(map(len, sweep.SWEEPS.values())) - len(sweep.SWEEPS) - 1
    assert text.count("| 50 [50, 50] | 0 [0, 0]: no difference shown |") == others
    save(sweep.picture(2, found), tmp_path / "sweeps.png")
    assert (tmp_path / "sweeps.png").stat().st_size > 10_000


def test_a_sweep_knows_what_ran_with_the_settings_it_has_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "sweep.json")
    ref = "refs/exps/12/3/sweep-one-seed0\nrefs/exps/12/3/of-somebody-else"
    metrics = {"s": {"hitl": {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8, "val_loss": 0.1}}}
    answers = {"for-each-ref": ref, "show": json.dumps(metrics)}
    monkeypatch.setattr(sweep, "_git", lambda command, *_: answers[command])
    sweep.keep({"sweep-one-seed0": "digest"}, "123")
    answers["for-each-ref"] = ""  # another clone
    sweep.keep({"sweep-one-seed0": "digest"}, "123")
    assert sweep.found({"sweep-one-seed0": "digest"}) == {
        "sweep-one-seed0": {"hitl": {"test_accuracy": 0.9, "test-shifted_accuracy": 0.8}}
    }
    assert sweep.found({"sweep-one-seed0": "other"}) == {}


def test_a_sweep_replaces_a_worker_that_has_given_up(monkeypatch):
    shown = ["one Queued\ntwo Queued\nother Running", "one Running\ntwo Running", "one Success\ntwo Running",
             "two Running\nthree Queued", "two Success\nthree Running", "three Success"]  # fmt: skip
    started, kept = [], []

    def dvc(command, **_):
        started.extend([len(shown)] if "start" in command else [])
        return SimpleNamespace(stdout=shown.pop(0) if "status" in command else "")

    monkeypatch.setattr(sweep.subprocess, "run", dvc)
    monkeypatch.setattr(sweep, "POLL_S", 0)
    sweep._wait({"one": {}, "two": {}, "three": {}}, 2, lambda: kept.append(len(shown)))
    assert started == [5, 2], "at first, and where two could run and one does"
    assert kept[-1] == 0, "until all have run"
    assert not shown


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
