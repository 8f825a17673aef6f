"""Published results stay valid when settings are added, and become invalid when a setting's meaning changes."""

import json
import re
import shutil

import pytest
from fakes import warm_python
from fakes.checkout import ROOT

from pipeline import config
from pipeline.config import Section

COUNT = """
import json
from pipeline.config import load
from pipeline.experiments import catalogue, cells, sweep

cells_found = [
    cells.result(name, variant, seed) is not None
    for name, about in catalogue.EXPERIMENTS.items()
    for variant in about.variants
    for seed in range(about.seeds)
]
params = load()
wanted = {
    sweep._name(what, value, seed): settings | sweep.ALL | {"seed": seed}
    for what, values in sweep.SWEEPS.items()
    for value, settings in values.items()
    for seed in range(5)
}
digests = {name: sweep._digest(params, settings) for name, settings in wanted.items()}
print(json.dumps([sum(cells_found), len(cells_found), len(sweep.found(digests)), len(wanted)]))
"""

# The defaults with which the results were published. A digest leaves out each setting that has its default, so a
# changed default would keep results that were made with the old default.
DEFAULTS = {
    "Annotate": {"adjudicate": None, "blind": 0, "crowd": [{}], "experts_per_query": 1, "reasons": []},
    "Aptos2019": {"masks": None},
    "Backbone": {"file": None},
    "Columns": {"group": "group", "image": "image", "label": "label", "mask": "mask", "split": "split"},
    "Compute": {"launcher": ""},
    "Consensus": {"gold": 0, "rule": "majority", "soft": False},
    "DecoyMnist": {"size": 28},
    "Explain": {
        "blur_reach": 2.0,
        "blur_sigma": 0.1,
        "limit": 0.1,
        "method": "deeplift",
        "reference": "blur",
        "target": "predicted",
    },
    "External": {"classes": {}},
    "FeedbackSettings": {
        "consistency": 0.0,
        "edge": 0.0,
        "fill": "another",
        "form": "penalty",
        "refit": None,
        "share": 1.0,
        "spread": None,
    },
    "Files": {
        "duplicates": "error",
        "fit": "stretch",
        "mask_values": None,
        "split_seed": 0,
        "white": None,
        "window": None,
    },
    "Folder": {
        "attributes": [],
        "classes": None,
        "columns": {},
        "findings": None,
        "held_out": 0.2,
        "no_finding": "No Finding",
        "separator": None,
        "table": None,
    },
    "Isic2017": {"attributes": [], "classes": "melanoma", "table": None},
    "Isic2017PatchesNatural": {"artefacts": "artefacts.csv", "patch_masks": "artefact_masks/band_aid"},
    "Isic2017Ruler": {"artefacts": "artefacts.csv"},
    "Nci": {"patient": None},
    "Penalty": {"every": 1, "oversample": 1, "ratio": 1.0, "sample": None},
    "QuerySettings": {"explain": {}, "prefill": False, "random_share": 0.0, "rank": "absolute", "regions": "grid"},
    "Refit": {"decay": 100.0, "draws": 6},
    "Scenario": {"external": [], "groups": []},
    "Simulated": {"absent": 0.0, "false_alarm_rate": 0.0, "marks": "irrelevant", "miss_rate": 0.0, "speed_s": 5.0},
    "Spread": {"precision": 0.9},
    "Train": {"class_balance": "none", "layers": "all", "precision": "no", "slices": 1},
}


@pytest.fixture
def copy(tmp_path):
    """A copy of the code, the settings and the published results."""
    for folder in ("pipeline", "labelstudio", "params", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def valid(folder) -> list[int]:
    """Return the numbers of cells with a valid result, of all cells, and the same two numbers of the sweep."""
    done = warm_python.run("-c", COUNT, cwd=folder, code=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_new_setting_with_a_default_keeps_all_results(copy):
    added = 0
    for path in (copy / "pipeline" / "config").glob("*.py"):
        text, count = re.subn(
            r"^(class \w+\(\w+\):\n    \"\"\"[^\"]*\"\"\"\n)",
            r"\1\n    brand_new: int = 3\n",
            path.read_text(),
            flags=re.M,
        )
        path.write_text(text)
        added += count
    assert added > 20, "settings are added to every section"
    cells, of_cells, sweeps, of_sweeps = valid(copy)
    assert (cells, sweeps) == (of_cells, of_sweeps)
    assert of_cells > 100


@pytest.mark.slow
def test_a_changed_setting_makes_results_invalid(copy):
    path = copy / "params" / "experiments.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.0003", "learning_rate: 0.0004"))
    cells, of_cells, sweeps, of_sweeps = valid(copy)
    assert cells < of_cells
    assert sweeps == of_sweeps, "sweeps read params.yaml"


def test_no_default_that_results_were_published_with_has_changed():
    def plain(value):
        if isinstance(value, Section):
            return value.model_dump(mode="json", exclude_defaults=True)
        return [plain(one) for one in value] if isinstance(value, list) else value

    for name, defaults in DEFAULTS.items():
        fields = getattr(config, name).model_fields
        assert {field: plain(fields[field].default) for field in defaults} == defaults, (
            f"{name}: digests would keep results of the old default. Write the old value into params/*.yaml first"
        )
