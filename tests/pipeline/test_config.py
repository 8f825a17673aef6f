"""params.yaml: what is shipped is valid, and each mistake is named with its place."""

import copy
import json
import re

import pytest
import yaml
from dvc.utils.serialize import load_yaml as dvc_params
from fakes.checkout import ROOT

from pipeline import config
from pipeline.errors import ConfigError


@pytest.fixture
def params():
    return copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))


def load(tmp_path, params):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return config.load(path)


def scenario(params):
    return next(iter(params["scenarios"].values()))


@pytest.mark.parametrize(
    ("written", "precision"), [("off", None), (False, None), ("on", 0.9), (True, 0.9), ({"precision": 0.8}, 0.8)]
)
def test_spreading_is_switched_as_yaml_reads_it(params, tmp_path, written, precision):
    scenario(params)["feedback"] = {"spread": written}
    (loaded,) = load(tmp_path, params).scenarios.values()
    assert (loaded.feedback.spread.precision if loaded.feedback.spread else None) == precision


def test_a_placebo_of_the_penalty_needs_the_penalty(params, tmp_path):
    scenario(params)["feedback"] = {"form": "counterexamples"}
    load(tmp_path, params)
    params["hitl"]["placebos"] = ["random-mask", "weight-decay"]
    with pytest.raises(ConfigError, match="'weight-decay' changes the penalty"):
        load(tmp_path, params)


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"a: 2021-13-45", b"? {a: b}\n: c", b"a: !!int x", b"[" * 5000, b"&a [*a]", b"\x00", b"1: !!timestamp x"],
)
def test_a_file_that_is_no_yaml_is_named(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        config.load(tmp_path / "params.yaml")


def test_every_params_file_that_is_shipped_is_valid():
    for path in [ROOT / "params.yaml", *ROOT.glob("params/*.yaml")]:
        loaded = config.load(path)
        assert set(loaded.hitl.scenarios) <= set(loaded.scenarios)


def test_the_readmes_example_of_ones_own_data_is_valid(params, tmp_path):
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", readme, flags=re.DOTALL)
    photographs = json.dumps(params["protocols"]["photographs"])
    example = yaml.safe_load(f"protocols:\n  photographs: &photographs {photographs}\n{block}")
    params["datasets"] = example["datasets"]
    params["scenarios"] = example["scenarios"]
    params["hitl"] |= example["hitl"]
    loaded = load(tmp_path, params)
    (dataset,) = loaded.datasets.values()
    assert dataset.source == "folder"
    assert dataset.columns.label == "diagnosis"


MISTAKES = {
    "unknown key": (
        lambda p: scenario(p)["train"].update(epoch=3),
        r"scenarios\..*train\.epoch: unknown setting",
    ),
    "a name with a dot, which DVC cannot find": (
        lambda p: p["datasets"].update({"own.v2": p["datasets"]["decoy-digits"]}),
        r"datasets\.own\.v2.*: 'own\.v2' cannot be a name\. Fix: use at most 24 lower-case letters, digits and `-`",
    ),
    "a number without an end": (
        lambda p: scenario(p)["train"].update(learning_rate=float("inf")),
        r"learning_rate: Input should be a finite number",
    ),
    "unknown top-level key": (lambda p: p.update(sed=1), r"sed: unknown setting"),
    "wrong type": (
        lambda p: p.update(seed="zero"),
        r"seed: Input should be a valid integer \(it is 'zero'\)",
    ),
    "missing": (lambda p: scenario(p).pop("fraction"), r"fraction: missing"),
    "fraction": (
        lambda p: scenario(p).update(fraction=1.5),
        r"fraction: Input should be less than or equal to 1",
    ),
    "grid": (lambda p: scenario(p)["query"].update(cell=13), r"query\.cell: 13 does not divide .* pixels"),
    "cells": (
        lambda p: scenario(p)["query"].update(proposals=65),
        r"query\.proposals: 65 proposals, but an image has only 64 regions of 8 x 8 pixels",
    ),
    "data set": (lambda p: scenario(p).update(dataset="digits"), r"no data set 'digits'"),
    "scenario": (
        lambda p: p["hitl"]["scenarios"].append("nowhere"),
        r"hitl\.scenarios: there is no scenario 'nowhere'",
    ),
    "last": (lambda p: p["hitl"].update(last="07"), r"`last` is '07', but the last round is '03'"),
    "chain": (lambda p: p["hitl"]["rounds"][1].update(after="start"), r"Fix: set its `after` to '00'"),
    "no queries": (lambda p: p["hitl"]["rounds"][0].update(queries=0), r"queries: Input should be greater"),
    "source": (
        lambda p: p["backbones"]["efficientnet-lite0"].update(weights="web"),
        r"weights: unknown word 'web'\. Fix: choose one of package, hub",
    ),
    "strategy": (
        lambda p: scenario(p)["query"].update(strategy="entropie"),
        r"strategy: .* Fix: write 'entropy', or choose one of",
    ),
    "explainer": (
        lambda p: scenario(p)["query"].update(explain={"method": "lime"}),
        r"query\.explain\.method: .*, grad-cam",
    ),
    "file": (
        lambda p: p["backbones"]["efficientnet-lite0"].update(weights="file"),
        r"`file` and `weights: file` belong together",
    ),
    "too few experts": (
        lambda p: p["annotate"].update(experts_per_query=2),
        r"annotate: `experts_per_query` is 2, but `crowd` has 1",
    ),
    "soft": (lambda p: p["consensus"].update(rule="any", soft=True), r"consensus: `soft` has no effect with 'any'"),
    "absence": (
        lambda p: p["annotate"]["crowd"][0].update(absent=1.5),
        r"annotate\.crowd\.0\.absent: Input should be less",
    ),
    "unknown source": (
        lambda p: p["datasets"]["decoy-digits"].update(source="isic"),
        r"datasets\.decoy-digits: .*isic2017",
    ),
    "another source's setting": (
        lambda p: p["datasets"]["decoy-digits"].update(covariates="x.csv"),
        r"datasets\.decoy-digits\.covariates: unknown setting",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(tmp_path, params, mistake):
    make, says = MISTAKES[mistake]
    load(tmp_path, params)  # valid before …
    make(params)
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, params)


def test_how_images_are_explained_has_defaults_and_true_may_be_written_as_yaml_reads_it(tmp_path, params):
    (loaded,) = load(tmp_path, params).scenarios.values()
    explain = loaded.query.explain
    assert (explain.method, explain.reference, explain.target) == ("deeplift", "blur", "predicted")
    scenario(params)["query"]["explain"] = {"target": True}
    (loaded,) = load(tmp_path, params).scenarios.values()
    assert loaded.query.explain.target == "true"


def test_every_mistake_is_named_at_once(tmp_path, params):
    params["seed"] = -1
    params["annotate"]["expert"] = "robot"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, params)
    assert "seed:" in str(caught.value)
    assert "annotate.expert:" in str(caught.value)


def test_a_file_that_is_not_there_or_not_yaml(tmp_path):
    with pytest.raises(ConfigError, match="run this in the project's root folder"):
        config.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        config.load(tmp_path / "params.yaml")


def test_a_scenario_that_is_not_there(tmp_path, params):
    with pytest.raises(ConfigError, match=r"no scenario 'x'. Fix: choose one of decoy-digits"):
        load(tmp_path, params).scenario("x")


def test_only_a_grid_has_to_divide_the_images(params, tmp_path):
    query = scenario(params)["query"]
    query.update(cell=10, regions="superpixels")
    load(tmp_path, params)
    query["regions"] = "grid"
    with pytest.raises(ConfigError, match=r"query\.cell: 10 does not divide"):
        load(tmp_path, params)


def test_a_name_that_is_there_twice_is_named_with_its_line(tmp_path):
    """YAML libraries take the last one; DVC stops, and names no line."""
    path = tmp_path / "params.yaml"
    lines = (ROOT / "params.yaml").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("annotate:"))
    path.write_text("\n".join([*lines[: place + 1], "  expert: human", *lines[place + 1 :]]))
    with pytest.raises(ConfigError, match=r'params\.yaml, line \d+: there is already a "expert" in this section. Fix'):
        config.load(path)


@pytest.mark.parametrize(("written", "read"), [("1e-3", 0.001), ("010", 10.0), ("1_0", 10.0)])
def test_numbers_are_read_as_dvc_reads_them(tmp_path, params, written, read):
    """In YAML 1.1, the first is text and the second is 8."""
    scenario(params)["train"]["learning_rate"] = "HERE"
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params).replace("HERE", written))
    (loaded,) = config.load(path).scenarios.values()
    assert (
        loaded.train.learning_rate
        == read
        == dvc_params(path)["scenarios"][next(iter(params["scenarios"]))]["train"]["learning_rate"]
    )


def test_words_stay_words(tmp_path, params):
    scenario(params)["train"]["augment"]["flip"] = "HERE"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params).replace("HERE", "no"))
    with pytest.raises(ConfigError, match=r"augment.flip: must be true or false \(it is 'no'\)"):
        config.load(tmp_path / "params.yaml")


def test_prefilled_marks_need_a_spreader(params, tmp_path):
    scenario(params)["query"]["prefill"] = True
    with pytest.raises(ConfigError, match=r"decoy-digits-20pct: `query.prefill` needs marks that are spread"):
        load(tmp_path, params)
    scenario(params)["feedback"] = {"form": "penalty", "spread": "on"}
    (loaded,) = load(tmp_path, params).scenarios.values()
    assert loaded.query.prefill


@pytest.mark.parametrize("reason", ["", " ", " hair", "hair ", "$image", "a\nb", "<b>", "x" * 25, "no reason"])
def test_a_reason_that_label_studio_cannot_show_is_named(params, tmp_path, reason):
    params["annotate"]["reasons"] = ["Lineal (mm)", "Haut & Härchen", "8", reason]
    with pytest.raises(ConfigError, match=rf"{re.escape(repr(reason))} cannot be a reason\. Fix: use 1 to 24 letters"):
        load(tmp_path, params)


@pytest.mark.parametrize("reasons", [["ruler", "ruler"], list("abcdefgh")])
def test_each_reason_is_a_word_with_a_key(params, tmp_path, reasons):
    params["annotate"]["reasons"] = reasons
    with pytest.raises(ConfigError, match="annotate: `reasons` must be at most 7 different words"):
        load(tmp_path, params)
