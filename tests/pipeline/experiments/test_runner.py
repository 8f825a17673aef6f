"""`lookaway experiments`: the cells to run, their cost, and the names of experiments."""

import pytest

from pipeline.errors import ConfigError
from pipeline.experiments import evidence, runner, tables


def test_experiments_without_new_cells_write_their_tables(experiment, monkeypatch, capsys):
    monkeypatch.setattr(tables, "FOLDER", experiment / "tables")
    monkeypatch.setattr(evidence, "FILE", experiment / "evidence.json")
    runner.main(["tiny"], seeds=None, jobs=1)
    assert capsys.readouterr().out == "0 cells to run, about 0.0 hours\n"
    assert (experiment / "tables" / "tiny.md").read_text().startswith("`lookaway experiments tiny`: 3 seeds")


def test_an_unknown_name_is_an_error_before_anything_runs():
    with pytest.raises(ConfigError, match=r"no search a, b. Fix: choose from c"):
        runner.check_names(["b", "a", "c"], ["c"], kind="search")
