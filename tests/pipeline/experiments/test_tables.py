"""The tables of docs/results: differences by seed, the width of a table, and the paper's Table 2."""

import json
from dataclasses import replace

from fakes.cells import cell

from pipeline.experiments import cells, metrics, tables
from pipeline.experiments.catalogue import EXPERIMENTS


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
    assert list(rows_of(text, "`hitl` minus each other arm")) == ["Other arm", "random-mask"]
    assert rows_of(text, "Results after each round")["20"][0] == "2.0", "twenty answers took two minutes"
    attention = rows_of(text, "Attention inside the marks, %, `hitl` minus another arm")
    assert attention["automated"] == ["-10.0 [-10.0, -10.0]"]
    assert "3 seeds, 2 min each" in text


def test_a_table_has_at_most_six_columns_to_compare(experiment, monkeypatch):
    wide = tuple(replace(metrics.AUC, title=f"m{n}", of=lambda arm, _: arm["test_accuracy"]) for n in range(7))
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(EXPERIMENTS["tiny"], metrics=wide))
    text = tables.tables("tiny")
    assert rows_of(text, "Every arm (1 of 2)")["Arm"] == ["m0", "m1", "m2", "m3"]
    assert rows_of(text, "Every arm (2 of 2)")["Arm"] == ["m4", "m5", "m6"]
    assert "**Every arm**" not in text


def test_variants_are_held_to_the_first_seed_by_seed(experiment, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(EXPERIMENTS["tiny"], variants={"a": {}, "b": {}}, explainers=()))
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


def test_a_cell_that_was_interrupted_says_nothing_of_what_one_costs(experiment):
    for seed, minutes in enumerate((None, 4.0, None)):
        path = cells.path("tiny", "", seed)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"minutes": minutes}))
    assert "3 seeds, 4 min each." in tables.tables("tiny")
    path = cells.path("tiny", "", 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minutes": None}))
    assert "3 seeds." in tables.tables("tiny")


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
