"""Every figure is measured once on few images, so that none of them rots."""

import ast
import io
import json
import math
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from fakes.checkout import ROOT

from benchmarks import __main__, browser, digits, epochs, measure, memory, method, starts
from benchmarks.measure import Figure
from pipeline.errors import PipelineError
from pipeline.models.classifier import Classifier
from pipeline.sources import decoy_digits
from pipeline.training import states

pytestmark = pytest.mark.slow

TINY = {"size": 32, "runs": 1}
ONE_NETWORK = {"architectures": (method.SMALLEST,)}
FEW_DIGITS = {"count": 8, "epochs": 1, "repeats": 1}
SMALL = {
    "prepared_vs_decode_ratio": {"count": 2, "runs": 1},
    "penalty_step_ratio": TINY,
    "penalty_step_ratio_relu6": TINY,
    "penalty_step_ratio_exact": TINY,
    "penalty_cosine": ONE_NETWORK,
    "networks_penalised": {"names": ("test_vit", "levit_128s")},
    "networks_complete": {"names": ("test_vit", "levit_128s")},
    "hitl_epoch_ratio_7pct": {"count": 8, **TINY},
    "hitl_epoch_ratio_70pct": {"count": 8, **TINY},
    "late_epoch_ratio_70pct": {"count": 8, **TINY},
    "counterexamples_epoch_ratio": {"count": 8, **TINY},
    "consistency_epoch_ratio": {"count": 8, **TINY},
    "deeplift_completeness_worst": ONE_NETWORK,
    "deeplift_batch_speedup": {"count": 2, **TINY},
    "deeplift_cost": TINY,
    "query_export_ratio": {"pool": 4, "queries": 1, **TINY},
    "epoch_vs_plain_timm_ratio": {"count": 4, **TINY},
    "waiting_for_data_share": {"count": 4, **TINY},
    "compiled_step_speedup": {"architecture": method.SMALLEST, "backend": "eager", **TINY},
    "two_process_speedup": {"runs": 2},
    "pool_scoring_rss_growth": {"few": 4, "many": 8, "runs": 2},
    "mask_memory_mb_nci": {"images": 200},
    "annotate_start_s": {"runs": 1},
    "stage_start_s": {"stages": ("automated", "placebo"), "runs": 2},
    "noop_repro_s": {"rounds": 1, "runs": 1},
}
BEGIN, LAUNCHED, PEAK_MB = digits.begin, epochs._launched, memory._peak_mb
ELSEWHERE = {"demo_overhead_ratio", *browser.FIGURES}  # the parts of the former are in test_repro.py


def small(name, folder):
    if name.startswith("spending_"):
        return FEW_DIGITS
    if name.startswith("worst_rise_"):
        return {"seeds": (0,), "epochs": 2, "count": 8, "folder": folder}
    if is_annotation(name):
        return {"counts": (2, 4)}
    return SMALL[name]


def is_annotation(name):
    return name.startswith("annotation_")


@pytest.fixture(scope="module", autouse=True)
def _small_digits():
    """Small images and the smallest network for all figures on digits, whose functions cache their results."""

    def begin(seed):
        return states.begin(Classifier(method.SMALLEST, decoy_digits.CLASSES), digits.TRAIN)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "SIZE", 32)
        patch.setattr(digits, "begin", begin)
        yield


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    """No figure starts a process that imports PyTorch: each such process has one test below, or in test_starts.py."""
    monkeypatch.setattr(epochs, "_launched", lambda processes, count, size: 1.5 / processes)
    monkeypatch.setattr(memory, "_peak_mb", float)
    monkeypatch.setattr(starts, "_input_s", lambda folder, stage: float(len(stage)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plots")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.labelstudio] if is_annotation(name) else [])
        for name in __main__.FIGURES
        if name not in ELSEWHERE
    ],
)
def test_a_figure_is_measured(name, folder):
    figure = __main__.FIGURES[name](**small(name, folder))
    assert all(map(math.isfinite, (figure.low, figure.median, figure.high)))
    assert figure.low <= figure.median <= figure.high
    if name.endswith("_share"):
        assert figure.low >= 0
        assert figure.high < 1


def test_digits_start_from_imagenet():
    state = BEGIN(seed=0)
    assert (state.model.architecture, state.model.classes) == ("tf_efficientnet_lite0", decoy_digits.CLASSES)


def test_a_launcher_trains_an_epoch():
    assert LAUNCHED(processes=1, count=4, size=32) > 0


def test_a_process_chooses_queries_and_reports_its_memory(monkeypatch):
    def run_here(command, **_):  # a process of its own would import PyTorch again
        monkeypatch.setattr(sys, "argv", command[2:])
        with redirect_stdout(io.StringIO()) as output:
            runpy.run_module(command[2], run_name="__main__")
        return subprocess.CompletedProcess(command, 0, output.getvalue())

    monkeypatch.setattr(memory.subprocess, "run", run_here)
    assert PEAK_MB(8) > 50


def test_a_mask_takes_hundreds_of_bytes():
    assert __main__.FIGURES["mask_memory_mb_nci"](images=200).median <= 50


def test_the_plots_are_written(folder):
    if not (folder / "batchnorm.png").exists():
        __main__.FIGURES["worst_rise_frozen"](**small("worst_rise_frozen", folder))
    assert {path.name for path in folder.iterdir()} == {"batchnorm.csv", "batchnorm.png"}


def test_a_figure_of_the_browser_is_what_its_test_records(tmp_path):
    test = tmp_path / "test_round.py"
    mark = "import pytest\n\n@pytest.mark.browser\n"
    test.write_text(f"{mark}def test(record_property):\n    record_property('clicks', 3.5)\n")
    assert browser.recorded("clicks", test) == Figure(3.5, 3.5, 3.5)


def test_the_tests_behind_the_browser_figures_record_them():
    for figure in browser.FIGURES.values():
        name, test = figure.args
        text = test.read_text(encoding="utf-8")
        assert "record_property(name, value)" in text
        assert f'"{name}"' in text


@pytest.fixture
def two_figures(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    figures = {"fast": lambda: Figure.of([1.0, 2.0, 4.0]), "slow": lambda: Figure.of([8.0])}
    monkeypatch.setattr(__main__, "FIGURES", figures)
    return Path("report/benchmarks.json")


def test_figures_are_printed_and_written(two_figures, capsys):
    __main__.main([])
    expected = {"fast": 2.0, "fast_min": 1.0, "fast_max": 4.0, "slow": 8.0, "slow_min": 8.0, "slow_max": 8.0}
    assert json.loads(two_figures.read_text()) == expected
    assert capsys.readouterr().out == "fast: 2 (1 to 4)\nslow: 8 (8 to 8)\n"


def test_figures_that_are_not_measured_again_keep_their_values(two_figures):
    __main__.main(["fast"])
    __main__.main(["slow"])
    assert set(json.loads(two_figures.read_text())) >= {"fast", "slow"}


def test_an_unknown_figure_is_named_before_anything_is_measured(two_figures):
    with pytest.raises(PipelineError, match=r"no figure quick\. Fix: choose from fast, slow"):
        __main__.main(["fast", "quick"])
    assert not two_figures.exists()


def test_a_ratio_takes_turns():
    calls = []
    figure = measure.ratio(lambda: calls.append("slow"), lambda: calls.append("fast"), runs=2)
    assert calls == ["slow", "fast"] * 3  # the first time unmeasured
    assert figure.low > 0


def test_no_program_is_hidden_in_a_string():
    for path in (ROOT / "benchmarks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"^(from \S+ )?import ", node.value, re.MULTILINE), path
