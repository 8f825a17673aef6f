"""Findings in params.yaml: what suits them, and each setting that does not, with a remedy."""

import copy

import pytest
import yaml
from fakes import findings
from fakes.checkout import ROOT

from pipeline import config
from pipeline.errors import ConfigError


@pytest.fixture
def params(tmp_path):
    """The shipped settings with a scenario of two findings."""
    document = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))
    document["datasets"] = {"shapes": findings.settings(tmp_path)}
    scenario = next(iter(document["scenarios"].values()))
    scenario |= {"dataset": "shapes", "query": scenario["query"] | {"cell": 8, "proposals": 6}}
    scenario["penalty"] |= {"output": "predicted"}
    document["scenarios"] = {"shapes": scenario}
    document["hitl"]["scenarios"] = ["shapes"]
    return document


def load(tmp_path, params):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return config.load(path)


DATA = {
    "without a table": ({"table": None}, "`findings` are read from a table"),
    "with classes": ({"classes": ["a", "b"]}, "`findings` and `classes` exclude each other"),
    "twice": ({"findings": ["disk", "disk"]}, "names disk twice"),
    "with our own separator": ({"findings": ["a|b"]}, r"'a\|b' cannot be a finding"),
    "none": ({"findings": []}, "at least 1 item"),
    "a column twice": ({"attributes": ["disk"]}, "the column 'disk' is a finding and something else"),
    "a column that is not read": ({"columns": {"label": "dx"}}, "`columns.label` is not read"),
    "separated by a part of a name": ({"separator": "is"}, "'disk' has the `separator` in its name"),
    "called as none": ({"separator": ";", "no_finding": "bar"}, "or is `no_finding`"),
    "a cell that is not read": ({"no_finding": "Normal"}, "`no_finding` is for names in one column"),
    "a separator alone": ({"findings": None, "separator": ";"}, "list their names under `findings`"),
}


@pytest.mark.parametrize("mistake", DATA)
def test_findings_that_cannot_be_read_are_named(params, tmp_path, mistake):
    load(tmp_path, params)
    changes, message = DATA[mistake]
    params["datasets"]["shapes"] |= changes
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, params)


UNSUITED = {
    "train.class_balance": ("sampler", "choose loss or none"),
    "query.strategy": ("confident-mistakes", "choose entropy, margin"),
    "query.explain": ({"target": "true"}, "target: 'true' is no finding"),
    "penalty.output": ("projection", "mixes all findings.*choose predicted, log-probs or ce"),
    "feedback.form": ("counterexamples", "choose penalty, which keeps findings apart"),
    "feedback.spread": ("on", "set it to off"),
}


def changed(params, place, value):
    section, setting = place.split(".")
    params["scenarios"]["shapes"][section][setting] = value


@pytest.mark.parametrize("place", UNSUITED)
def test_a_setting_that_does_not_suit_findings_is_named(params, tmp_path, place):
    value, message = UNSUITED[place]
    changed(params, place, value)
    with pytest.raises(ConfigError, match=rf"scenarios\.shapes\.{place}.*{message}"):
        load(tmp_path, params)


def test_the_linear_sum_of_logits_mixes_findings_too(params, tmp_path):
    changed(params, "penalty.output", "logits")
    with pytest.raises(ConfigError, match="mixes all findings"):
        load(tmp_path, params)


def test_spread_entropy_mixes_findings(params, tmp_path):
    changed(params, "query.strategy", "spread-entropy")
    with pytest.raises(ConfigError, match="'spread-entropy' mixes the marks"):
        load(tmp_path, params)


def test_a_finding_may_be_explained_by_name(params, tmp_path):
    changed(params, "query.explain", {"target": "bar"})
    assert load(tmp_path, params).scenario("shapes").query.explain.target == "bar"
    changed(params, "query.explain", {"target": "ber"})
    with pytest.raises(ConfigError, match="write 'bar', or"):
        load(tmp_path, params)


def test_one_finding_has_nothing_to_keep_apart(params, tmp_path):
    params["datasets"]["shapes"]["findings"] = ["bar"]
    params["scenarios"]["shapes"]["feedback"] = {"form": "counterexamples", "spread": "on", "refit": "on"}
    params["hitl"]["placebos"] = ["random-mask"]
    changed(params, "query.strategy", "spread-entropy")
    load(tmp_path, params)


def test_an_external_set_has_findings_too(params, tmp_path):
    params["datasets"]["elsewhere"] = {"source": "folder", "root": "x", "size": findings.SIZE}
    params["scenarios"]["shapes"]["external"] = ["elsewhere"]
    with pytest.raises(ConfigError, match="one has findings and the other has classes"):
        load(tmp_path, params)
