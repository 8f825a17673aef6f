"""`make paper`: the paper's protocol, whole or in part: its Table 2, with test splits and a placebo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.commands import params_file
from pipeline.commands.repro import repro, run
from pipeline.config import Files, load
from pipeline.errors import ConfigError
from pipeline.sources import registry

PROTOCOL = Path("params/paper.yaml")


def main(only: str, backbone: str, expert: str) -> None:
    """Choose what of the protocol is to be run, make sure that its data are there, and run it."""
    document = chosen(params_file.read(PROTOCOL), only, backbone)
    document["annotate"]["expert"] = expert
    check_sources(list(document["datasets"]))
    params_file.replace(document)
    repro()


def chosen(document: Any, only: str, backbone: str) -> Any:
    """The part of the protocol that a data set or a scenario ("all": everything) needs, with one backbone."""
    scenarios, datasets = document["scenarios"], document["datasets"]
    if only not in ("all", *datasets, *scenarios):
        raise ConfigError(f"ONLY is {only!r}; choose one of all, {', '.join([*datasets, *scenarios])}")
    if backbone not in document["backbones"]:
        raise ConfigError(f"BACKBONE is {backbone!r}; choose one of {', '.join(document['backbones'])}")
    kept = [name for name, scenario in scenarios.items() if only in ("all", name, scenario["dataset"])]
    # A scenario that starts from another one's state needs that one, too.
    kept += [Path(scenarios[name]["init"]).parts[1] for name in kept if scenarios[name]["init"].startswith("runs/")]
    _keep(scenarios, kept)
    _keep(datasets, [scenario["dataset"] for scenario in scenarios.values()])
    _keep(document["backbones"], [backbone])
    for scenario in scenarios.values():
        if not scenario["init"].startswith("runs/"):
            scenario["init"] = f"data/backbones/{backbone}.pt"
    asked = document["hitl"]["scenarios"]
    for name in [name for name in asked if name not in kept]:
        asked.remove(name)
    if not asked:
        raise ConfigError(f"{only} asks no experts, so there is nothing to compare; choose its data set instead")
    return document


def _keep(section: Any, names: list[str]) -> None:
    for name in [name for name in section if name not in names]:
        del section[name]


def check_sources(names: list[str]) -> None:
    """Raise ConfigError that says what is missing of these data sets and how to get it, before anything trains."""
    settings = load(PROTOCOL).datasets
    missing = []
    for name in names:
        source = settings[name]
        if isinstance(source, Files):
            try:
                registry.read(source)
            except ConfigError as error:
                missing.append(f"{name}: {error}")
    if missing:
        raise ConfigError("\n".join(missing))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="all", help="a data set or a scenario")
    parser.add_argument("--backbone", default="efficientnet-b0")
    parser.add_argument("--expert", choices=["simulated", "human"], default="simulated")
    run(main, **vars(parser.parse_args()))
