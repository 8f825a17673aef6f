"""`lookaway paper`: the paper's protocol, whole or in part; its Table 2 with a test split and a placebo."""

from __future__ import annotations

from pipeline.choices import Expert
from pipeline.commands import params_file
from pipeline.commands.repro import repro
from pipeline.config import Files, load
from pipeline.errors import ConfigError, DataError
from pipeline.experiments.protocols import PAPER, chosen
from pipeline.sources import registry


def main(*, only: str, backbone: str, expert: Expert) -> None:
    """Write params.yaml for the chosen part of the protocol, and run it; its data must be there."""
    document = chosen(params_file.read(PAPER), only=only, backbone=backbone)
    document["annotate"]["expert"] = expert
    check_sources(list(document["datasets"]))
    params_file.replace(document)
    repro()


def check_sources(names: list[str]) -> None:
    """Raise DataError that says what is missing of these data sets and how to get it, before anything trains."""
    settings = load(PAPER).datasets
    missing = []
    for name in names:
        source = settings[name]
        if isinstance(source, Files):
            try:
                registry.read(source)
            except (ConfigError, DataError) as error:
                missing.append(f"{name}: {error}")
    if missing:
        raise DataError("\n".join(missing))
