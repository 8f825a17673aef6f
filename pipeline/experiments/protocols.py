"""The files of settings in params/, and the part of the paper's protocol that a data set or a scenario needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.config.params import read_yaml
from pipeline.errors import ConfigError

PAPER = Path("params/paper.yaml")
EXPERIMENTS = Path("params/experiments.yaml")


def plain(path: Path) -> dict[str, Any]:
    """Return the file's settings with all anchors resolved, as a new tree that the caller may change."""
    document: dict[str, Any] = json.loads(json.dumps(read_yaml(path)))
    return document


def chosen(document: Any, *, only: str, backbone: str) -> Any:
    """Return the part of the paper's protocol that a data set or a scenario needs.

    Args:
        document: The settings of params/paper.yaml; this function changes them in place.
        only: A data set, a scenario, or "all" for the whole protocol.
        backbone: The backbone of every scenario.

    Returns:
        The document.

    Raises:
        ConfigError: A name is unknown, or no scenario with rounds remains.
    """
    scenarios, datasets = document["scenarios"], document["datasets"]
    if only not in ("all", *datasets, *scenarios):
        names = ", ".join([*datasets, *scenarios])
        raise ConfigError(f"{PAPER} has no data set or scenario {only!r}. Fix: choose one of all, {names}")
    if backbone not in document["backbones"]:
        raise ConfigError(
            f"{PAPER} has no backbone {backbone!r}. Fix: choose one of {', '.join(document['backbones'])}"
        )
    kept = [name for name, scenario in scenarios.items() if only in ("all", name, scenario["dataset"])]
    # A scenario that starts from another scenario's state needs that scenario as well.
    kept += [Path(scenarios[name]["init"]).parts[1] for name in kept if scenarios[name]["init"].startswith("runs/")]
    _keep(scenarios, kept)
    _keep(datasets, [scenario["dataset"] for scenario in scenarios.values()])
    _keep(document["backbones"], [backbone])
    for scenario in scenarios.values():
        if not scenario["init"].startswith("runs/"):
            scenario["init"] = f"data/backbones/{backbone}.pt"
    with_rounds = document["hitl"]["scenarios"]
    for name in [name for name in with_rounds if name not in kept]:
        with_rounds.remove(name)
    if not with_rounds:
        raise ConfigError(
            f"scenario {only!r} of {PAPER} has no rounds, so there is nothing to compare. Fix: choose its data set"
        )
    return document


def _keep(section: Any, names: list[str]) -> None:
    """Delete all other names from a section; this keeps the comments of a document that is written again."""
    for name in [name for name in section if name not in names]:
        del section[name]
