"""The parts of an experiment: the metrics that it reports, its settings, its arms and its variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.choices import Method, Rule
from pipeline.evaluation import attention
from pipeline.experiments import protocols

Changes = dict[str, Any]  # dotted setting → value; the prefix `scenario.` stands for the experiment's scenario


@dataclass(frozen=True)
class Metric:
    """A number that an experiment reports for each arm.

    Attributes:
        title: The head of the metric's column.
        of: Computes the number from the arm's numbers and the numbers of `automated`.
        scale: The tables show the number times this factor.
        digits: Digits after the decimal point.
        by_epoch: The metric's column in the history, for the tables by round; empty if these tables leave it out.
        key: The metric's name in report/evidence.json; empty if this file leaves it out.
    """

    title: str
    of: Callable[[dict[str, float], dict[str, float]], float]
    scale: float = 1.0
    digits: int = 3
    by_epoch: str = ""
    key: str = ""


def number(title: str, name: str, *, by_epoch: str = "", scale: float = 1, digits: int = 3, key: str = "") -> Metric:
    """Return the metric that reports a number of the arm's summary as it is.

    Args:
        title: The head of the metric's column.
        name: The number's name in the summary.
        by_epoch: The metric's column in the history; empty for none.
        scale: The tables show the number times this factor.
        digits: Digits after the decimal point.
        key: The metric's name in report/evidence.json; empty for none.

    Returns:
        The metric.
    """
    return Metric(title, lambda arm, _: arm[name], scale, digits, by_epoch, key)


def percent(title: str, name: str, *, by_epoch: str = "", key: str = "") -> Metric:
    """Return the metric that reports a share of the arm's summary in percent."""
    return number(title, name, by_epoch=by_epoch, scale=100, digits=1, key=key)


@dataclass(frozen=True)
class Experiment:
    """One question: a scenario, the arms that answer it, and variants of its settings.

    A cell is one seed of one variant. The tables compare every variant with the first variant.

    Attributes:
        question: The question.
        scenario: The scenario's name.
        minutes: The duration of a cell on one CPU core.
        metrics: The metrics that answer the question.
        arms: The arms beside the baseline, in the order of training; placebos follow `hitl`.
        changes: Changes of the scenario's settings in all variants.
        variants: Name → further changes.
        seeds: The number of published seeds.
        forms: Arms that ask experts as `hitl` does, with changes of the settings: arm → changes.
        each_epoch: Whether all splits are read after each epoch, and not val alone.
        explainers: The explainers that measure attention; none if attention is not measured.
        protocol: The file with the scenario. `params/paper.yaml` is run as `lookaway paper` runs it.
    """

    question: str
    scenario: str
    minutes: float
    metrics: tuple[Metric, ...]
    arms: tuple[str, ...] = ("automated", "hitl")
    changes: Changes = field(default_factory=dict)
    variants: dict[str, Changes] = field(default_factory=lambda: {"": {}})
    seeds: int = 5
    forms: dict[str, Changes] = field(default_factory=dict)
    each_epoch: bool = True
    explainers: tuple[Method, ...] = attention.QUICK
    protocol: Path = protocols.EXPERIMENTS


def rounds(queries: int, epochs: list[int]) -> Changes:
    """Return the settings of rounds with these epochs, over which the queries are spread evenly."""
    each = [queries // len(epochs) + (n < queries % len(epochs)) for n in range(len(epochs))]
    names = [f"{n:02d}" for n in range(len(epochs))]
    before = ["start", *names]
    entries = [
        {"n": n, "after": after, "queries": q, "epochs": e}
        for n, after, q, e in zip(names, before, each, epochs, strict=False)
    ]
    return {"hitl.rounds": entries, "hitl.last": names[-1]}


def crowd(experts: int, wrong: float, rule: Rule) -> Changes:
    """Return the settings of experts who all answer every query, and err about this share of the regions, 0..1."""
    member = {"miss_rate": wrong, "false_alarm_rate": wrong}
    return {"annotate.crowd": [member] * experts, "annotate.experts_per_query": experts, "consensus": {"rule": rule}}
