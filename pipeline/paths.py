"""Where every artefact lies; no other module spells out a path.

`data/` holds what is made from the original images, `runs/` the results of training, and `report/` the comparison.
"""

from __future__ import annotations

from pathlib import Path

REPORT = Path("report")
PAGE = REPORT / "index.html"  # the whole comparison in one file


def prepared_dir(dataset: str) -> Path:
    """Return the prepared data set: images.npy, evidence.npy, index.csv, manifest.json."""
    return Path("data/prepared") / dataset


def originals_file(dataset: str) -> Path:
    """Return the table of each prepared image's original file, which never leaves this machine."""
    return Path("data/originals") / f"{dataset}.csv"


def backbone_file(backbone: str) -> Path:
    """Return the pretrained weights of a backbone."""
    return Path("data/backbones") / f"{backbone}.pt"


def subset_file(scenario: str) -> Path:
    """Return the ids, labels and splits of a scenario's images, with the prepared data's digest."""
    return Path("runs") / scenario / "subset.csv"


def step_dir(scenario: str, step: str) -> Path:
    """Return the folder of one step of a scenario: ``start``, a round (``00``, …), or an arm's name."""
    return Path("runs") / scenario / step


def asked_file(scenario: str, round: str) -> Path:
    """Return the picture of a round's queries and marks."""
    return step_dir(scenario, round) / "asked.png"


def scores_file(scenario: str) -> Path:
    """Return the scores of each arm of a scenario: arm → metric → value."""
    return REPORT / "scenarios" / f"{scenario}.json"


def predictions_file(scenario: str) -> Path:
    """Return the predictions of each arm's final network on all images but the training images."""
    return REPORT / "predictions" / f"{scenario}.csv"


def screening_file(dataset: str) -> Path:
    """Return the screening of a data set as JSON; its page lies beside it as HTML."""
    return REPORT / "screening" / f"{dataset}.json"


def curves_file(scenario: str) -> Path:
    """Return the picture of every arm's history."""
    return REPORT / "curves" / f"{scenario}.png"


def curve_file(scenario: str, arm: str) -> Path:
    """Return the history of one arm, as DVC plots it: from the first epoch on while the arm trains."""
    return REPORT / "curves" / scenario / f"{arm}.csv"


def explanations_file(scenario: str) -> Path:
    """Return the picture of the explanations of every arm's final network."""
    return REPORT / "explanations" / f"{scenario}.png"


def card_file(scenario: str) -> Path:
    """Return the model card of a scenario, Markdown."""
    return REPORT / "cards" / f"{scenario}.md"


def annotated_dir(scenario: str) -> Path:
    """Return the annotated set of a scenario with rounds: answers and masks, with their description in Croissant."""
    return REPORT / "annotated" / scenario
