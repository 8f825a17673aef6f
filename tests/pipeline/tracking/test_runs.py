"""The run of an arm: found again by its settings, and brought up to date with the files."""

import re

import pandas as pd
import pytest
from fakes.mlflow_runs import MlflowRuns

from pipeline.config import Annotate, Config, External, Folder, Scenario, load
from pipeline.tracking import registered, runs
from pipeline.tracking.registered import PACKAGE, SERVED


class Newer(Scenario):
    """The scenario's settings in a newer version, with a setting more."""

    new_setting: int = 1


@pytest.fixture
def config():
    return load()


def scenario_of(config: Config) -> str:
    return config.hitl.scenarios[0]


def newer(config: Config, **updates) -> Config:
    """The same settings as a newer version reads them."""
    scenario = scenario_of(config)
    settings = Newer.model_validate({**config.scenario(scenario).model_dump(), **updates})
    return config.model_copy(update={"scenarios": {**config.scenarios, scenario: settings}})


@pytest.mark.parametrize("arm", ["baseline", "automated", "random-mask", "hitl"])
def test_a_new_setting_with_a_default_keeps_the_run(config, arm):
    scenario = scenario_of(config)
    assert runs.key(newer(config), scenario, arm) == runs.key(config, scenario, arm)
    assert runs.params(newer(config), scenario, arm)["new_setting"] == 1, "all settings are shown, defaults too"
    assert runs.key(newer(config, new_setting=2), scenario, arm) != runs.key(config, scenario, arm)


@pytest.mark.parametrize("tested", [{"external": [External(dataset="ph2")]}, {"groups": ["device"]}])
def test_external_test_sets_and_groups_train_nothing_and_keep_the_run(config, tested):
    scenario = scenario_of(config)
    own = Folder(source="folder", root="x", size=64, attributes=["device"])
    datasets = config.datasets | {"ph2": config.datasets["decoy-digits"], "decoy-digits": own}
    config = config.model_copy(update={"datasets": datasets})
    settings = config.scenario(scenario).model_copy(update=tested)
    tested = config.model_copy(update={"scenarios": {scenario: settings}})
    assert runs.key(tested, scenario, "hitl") == runs.key(config, scenario, "hitl")


def test_each_arm_has_a_run_for_the_settings_that_can_change_its_result(config):
    scenario = scenario_of(config)
    keys = {arm: runs.key(config, scenario, arm) for arm in ("baseline", "automated", "random-mask", "hitl")}
    assert len(set(keys.values())) == 4
    human = config.model_copy(update={"annotate": Annotate(expert="human", evidence_share=0.05)})
    same = {arm for arm, key in keys.items() if runs.key(human, scenario, arm) == key}
    assert same == {"baseline", "automated"}, "only the other arms follow from answers"
    other = config.model_copy(update={"seed": config.seed + 1})
    assert not {runs.key(other, scenario, arm) for arm in keys} & set(keys.values())


@pytest.fixture
def client(monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setattr(runs.provenance, "data", lambda dataset: "0" * 64)
    return MlflowRuns()


def update(client, config, history):
    scenario = scenario_of(config)
    return runs.update(
        client, experiment="1", config=config, scenario=scenario, arm="automated", history=pd.DataFrame(history)
    )


def test_a_run_gets_the_epochs_and_the_settings_that_it_lacks(client, config):
    first = {"step": ["start"], "epoch": [1], "val_loss": [0.5]}
    both = {"step": ["start", "00"], "epoch": [1, 2], "val_loss": [0.5, 0.4]}
    run_id = update(client, config, first)
    assert "new_setting" not in client.get_run(run_id).data.params
    assert update(client, newer(config), both) == run_id
    assert update(client, newer(config), both) == run_id
    assert client.get_run(run_id).points == [("val_loss", 1, 0.5), ("val_loss", 2, 0.4)]
    assert client.get_run(run_id).data.params["new_setting"] == "1"


def test_a_run_with_other_epochs_is_replaced(client, config):
    run_id = update(client, config, {"step": ["start"], "epoch": [1], "val_loss": [0.5]})
    other = update(client, config, {"step": ["start"], "epoch": [1], "val_loss": [0.6]})
    assert [run.info.run_id for run in client.deleted] == [run_id]
    assert client.get_run(other).points == [("val_loss", 1, 0.6)]


def test_only_pictures_that_exist_are_logged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logged = []
    monkeypatch.setattr(runs, "_log_picture", lambda client, run_id, *, name, step, path: logged.append(step))
    runs.asked_file("digits", "00").parent.mkdir(parents=True)
    runs.asked_file("digits", "00").touch()
    runs.log_queries(None, "run", scenario="digits", rounds=["00", "01"])
    assert logged == ["00"], "round 01 is trained, and not yet reviewed"


def test_a_registered_model_carries_every_module_of_the_project_that_it_imports():
    carried = {f"pipeline.{path.removesuffix('.py').replace('/', '.')}" for path in registered.CARRIED}
    for path in (SERVED, *(PACKAGE / path for path in registered.CARRIED)):
        imports = re.findall(r"^ *from (pipeline\S*) import (\w+)", path.read_text(), flags=re.MULTILINE)
        imported = {f"{package}.{name}" if package == "pipeline.sources" else package for package, name in imports}
        assert imported <= carried, f"{path} needs a module that is not carried"
