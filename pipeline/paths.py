"""Where every artefact lies; nothing else spells out a path.

`data/` holds what is made from the original images, `runs/` what training made, `report/` what it
came to.
"""

from __future__ import annotations

from pathlib import Path

REPORT = Path("report")
PAGE = REPORT / "index.html"  # the whole comparison, in one file


def prepared_dir(dataset: str) -> Path:
    """The prepared data set: images.npy, evidence.npy, index.csv, manifest.json."""
    return Path("data/prepared") / dataset


def originals_file(dataset: str) -> Path:
    """Which original file each prepared image is: never leaves this machine."""
    return Path("data/originals") / f"{dataset}.csv"


def backbone_file(backbone: str) -> Path:
    """Pretrained weights, whatever they came from."""
    return Path("data/backbones") / f"{backbone}.pt"


def subset_file(scenario: str) -> Path:
    """The chosen image ids with labels and splits, and the prepared data's digest."""
    return Path("runs") / scenario / "subset.csv"


def step_dir(scenario: str, step: str) -> Path:
    """What one step of a scenario wrote: ``start``, a round (``00``, …), or an arm's name."""
    return Path("runs") / scenario / step


def asked_file(scenario: str, round: str) -> Path:
    """What a round asked and what was marked, as a picture."""
    return step_dir(scenario, round) / "asked.png"


def scores_file(scenario: str) -> Path:
    """What each arm of a scenario came to: arm → metric → value."""
    return REPORT / "scenarios" / f"{scenario}.json"


def predictions_file(scenario: str) -> Path:
    """What each arm's final network says of every image that is not trained on."""
    return REPORT / "predictions" / f"{scenario}.csv"


def curves_file(scenario: str) -> Path:
    """Every arm's history as a picture; beside it lies the same as CSV."""
    return REPORT / "curves" / f"{scenario}.png"


def explanations_file(scenario: str) -> Path:
    """What every arm's final network looks at, as a picture."""
    return REPORT / "explanations" / f"{scenario}.png"
