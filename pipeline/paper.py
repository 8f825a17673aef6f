"""`make paper`: the paper's protocol on one of its data sets, or all: its Table 2, with test splits and a placebo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.config import ConfigError, DecoyDigits, load
from pipeline.datasets import sources
from pipeline.repro import repro, run

PROTOCOL = Path("params/paper.yaml")


def main(dataset: str, backbone: str, expert: str) -> None:
    """Choose what of the protocol is to be run, make sure that its data are there, and run it."""
    document = chosen(params.read(PROTOCOL), dataset, backbone)
    document["annotate"]["expert"] = expert
    check_sources(list(document["datasets"]))
    params.replace(document)
    repro()


def chosen(document: Any, dataset: str, backbone: str) -> Any:
    """The part of the protocol that one data set ("all": every one) needs, with one backbone."""
    known = [*document["datasets"], "all"]
    if dataset not in known:
        raise ConfigError(f"DATASET is {dataset!r}; choose one of {', '.join(known)}")
    if backbone not in document["backbones"]:
        raise ConfigError(f"BACKBONE is {backbone!r}; choose one of {', '.join(document['backbones'])}")
    for name in [name for name in document["datasets"] if dataset not in (name, "all")]:
        del document["datasets"][name]
    for name in [name for name in document["backbones"] if name != backbone]:
        del document["backbones"][name]
    for name, scenario in list(document["scenarios"].items()):
        if scenario["dataset"] not in document["datasets"]:
            del document["scenarios"][name]
            if name in document["hitl"]["scenarios"]:
                document["hitl"]["scenarios"].remove(name)
        elif scenario["init"].startswith("data/backbones/"):
            scenario["init"] = f"data/backbones/{backbone}.pt"
    return document


def check_sources(names: list[str]) -> None:
    """Raise ConfigError that says what is missing of these data sets and how to get it, before anything trains."""
    settings = load(PROTOCOL).datasets
    missing = []
    for name in names:
        source = settings[name]
        if not isinstance(source, DecoyDigits):
            try:
                sources.read(source)
            except ConfigError as error:
                missing.append(f"{name}: {error}")
    if missing:
        raise ConfigError("\n".join(missing))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="all")
    parser.add_argument("--backbone", default="efficientnet-b0")
    parser.add_argument("--expert", choices=["simulated", "human"], default="simulated")
    run(main, **vars(parser.parse_args()))
