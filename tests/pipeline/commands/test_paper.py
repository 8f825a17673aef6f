"""Switching between the demo and the paper: what is chosen, what is checked first, and nothing is lost."""

import shutil
import subprocess

import pytest
from fakes.checkout import ROOT

from pipeline.commands import paper, params_file, repro
from pipeline.config import load
from pipeline.errors import ConfigError, DataError
from pipeline.experiments.protocols import PAPER, chosen

GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with params alone, and nothing that would run."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*GIT, *command], check=True)
    monkeypatch.setattr(paper, "repro", lambda: None)
    return tmp_path


def test_the_protocol_is_the_papers():
    protocol = load(ROOT / "params" / "paper.yaml")
    for scenario in protocol.scenarios.values():
        train = scenario.train
        assert (train.baseline_epochs, train.batch_size, train.learning_rate) == (10, 4, 1e-4)
        assert (train.class_balance, train.batchnorm) == ("none", "moving")
        augment = train.augment
        assert (augment.flip, augment.rotate_degrees, augment.crop, augment.brightness) == (True, 180, 0.1, 0.1)
        assert scenario.penalty.weight / (3 * 224 * 224) == pytest.approx(6.64, abs=0.01)
        assert (scenario.penalty.form, scenario.penalty.output) == ("eq2-mean", "logits")
        assert (scenario.query.strategy, scenario.query.cell, scenario.query.proposals) == ("entropy", 28, 10)
    rounds = protocol.hitl.rounds
    assert [entry.queries for entry in rounds] == [20] * 10
    assert [entry.epochs for entry in rounds] == [1] * 9 + [11]
    assert protocol.scenarios["nci-50pct"].init == "runs/nci-half-pct/09/state.pt"
    assert {data.size for data in protocol.datasets.values()} == {224}


@pytest.mark.parametrize("only", ["isic2017", "aptos2019", "nci", "all"])
@pytest.mark.parametrize("backbone", ["efficientnet-b0", "efficientnet-b1", "efficientnet-lite0"])
def test_what_is_chosen_is_whole_and_valid(checkout, only, backbone):
    params_file.replace(chosen(params_file.read(PAPER), only=only, backbone=backbone))
    config = load()
    assert list(config.backbones) == [backbone]
    assert only == "all" or list(config.datasets) == [only]
    assert {scenario.dataset for scenario in config.scenarios.values()} == set(config.datasets)
    inits = {scenario.init for scenario in config.scenarios.values()}
    assert inits <= {f"data/backbones/{backbone}.pt", "runs/nci-half-pct/09/state.pt"}


def test_one_scenario_brings_what_it_starts_from(checkout):
    assert list(chosen(params_file.read(PAPER), only="isic2017-10pct", backbone="efficientnet-b0")["scenarios"]) == [
        "isic2017-10pct"
    ]
    needed = chosen(params_file.read(PAPER), only="nci-50pct", backbone="efficientnet-b0")
    assert list(needed["scenarios"]) == needed["hitl"]["scenarios"] == ["nci-half-pct", "nci-50pct"]
    with pytest.raises(ConfigError, match="has no rounds"):
        chosen(params_file.read(PAPER), only="isic2017-100pct", backbone="efficientnet-b0")


def test_a_data_set_that_is_not_there_stops_before_anything_changes(checkout):
    before = (checkout / "params.yaml").read_text()
    with pytest.raises(DataError) as error:
        paper.main(only="all", backbone="efficientnet-b0", expert="simulated")
    for place, how in (("isic2017", "challenge.isic-archive"), ("aptos2019", "kaggle.com"), ("nci", "ask the NCI")):
        assert f"data/raw/{place}" in str(error.value)
        assert how in str(error.value)
    assert (checkout / "params.yaml").read_text() == before


def test_an_unknown_name_is_said_with_those_there_are(checkout):
    with pytest.raises(
        ConfigError,
        match=r"no data set or scenario 'isic'. Fix: choose one of all, isic2017, aptos2019, nci, isic2017-10pct",
    ):
        paper.main(only="isic", backbone="efficientnet-b0", expert="simulated")
    with pytest.raises(ConfigError, match=r"no backbone 'b7'. Fix: choose one of efficientnet-b0"):
        paper.main(only="isic2017", backbone="b7", expert="simulated")


def test_there_and_back_again_without_losing_anybodys_changes(checkout, monkeypatch):
    monkeypatch.setattr(paper, "check_sources", lambda names: None)
    demo = (checkout / "params.yaml").read_text()
    paper.main(only="isic2017", backbone="efficientnet-lite0", expert="human")
    assert load().annotate.expert == "human"
    assert "lambda 1e6" in (checkout / "params.yaml").read_text(), "comments stay"
    paper.main(only="aptos2019", backbone="efficientnet-lite0", expert="simulated")
    params_file.restore_committed()
    assert (checkout / "params.yaml").read_text() == demo

    (checkout / "params.yaml").write_text(demo.replace("seed: 0", "seed: 7"))
    with pytest.raises(ConfigError, match="changes that are not in Git"):
        paper.main(only="isic2017", backbone="efficientnet-lite0", expert="simulated")
    params_file.restore_committed()
    assert load().seed == 7, "a person's own params are no generated ones"


def test_a_data_set_without_files_is_named_before_anything_runs(checkout):
    params = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(params.replace("root: constraints.txt", "root: data/raw/lesions"))
    with pytest.raises(
        DataError, match=r"1 data sets have no files.*\n  datasets\.decoy-digits\.root: data/raw/lesions"
    ):
        repro.repro()
