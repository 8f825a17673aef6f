"""The changes that commands make to params.yaml."""

import shutil

from pipeline.commands import params_file
from pipeline.config import load


def test_choosing_an_expert_changes_that_line_of_params_only(tmp_path, monkeypatch):
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "params.yaml").read_text().splitlines()
    params_file.set_expert("simulated")
    assert (tmp_path / "params.yaml").read_text().splitlines() == before
    params_file.set_expert("human")
    assert load().annotate.expert == "human"
    params_file.set_expert("simulated")
    after = (tmp_path / "params.yaml").read_text()
    assert load().model_dump() == load(tmp_path / "params.yaml").model_dump()
    assert all(line.split("#")[-1].strip() in after for line in before if "#" in line)  # comments stay
