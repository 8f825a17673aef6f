"""The experiments: each one's scenario, arms, variants and metrics, and the cost of a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pipeline.choices import Method, Rule
from pipeline.config import Config
from pipeline.evaluation import attention
from pipeline.experiments import protocols

BACKBONE = "efficientnet-lite0"  # for the paper's protocol: its weights need no network
PLACEBOS = ("random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published")
Changes = dict[str, Any]  # dotted setting → value; the prefix `scenario.` stands for the experiment's scenario
GIVEN = "given"  # in a variant's changes: the share of the training images with given masks, in place of answers


@dataclass(frozen=True)
class Metric:
    """A number that an experiment reports for each arm.

    Attributes:
        title: The head of the metric's column.
        of: Computes the number from the arm's numbers and the numbers of `automated`.
        scale: The tables show the number times this factor.
        digits: Digits after the decimal point.
        by_epoch: The metric's column in the history, for the tables by round; empty if these tables leave it out.
    """

    title: str
    of: Callable[[dict[str, float], dict[str, float]], float]
    scale: float = 1.0
    digits: int = 3
    by_epoch: str = ""


def number(title: str, name: str, *, by_epoch: str = "", scale: float = 1, digits: int = 3) -> Metric:
    """Return the metric that reports a number of the arm's summary as it is.

    Args:
        title: The head of the metric's column.
        name: The number's name in the summary.
        by_epoch: The metric's column in the history; empty for none.
        scale: The tables show the number times this factor.
        digits: Digits after the decimal point.

    Returns:
        The metric.
    """
    return Metric(title, lambda arm, _: arm[name], scale, digits, by_epoch)


def percent(title: str, name: str, *, by_epoch: str = "") -> Metric:
    """Return the metric that reports a share of the arm's summary in percent."""
    return number(title, name, by_epoch=by_epoch, scale=100, digits=1)


def _harm_undone(name: str) -> Metric:
    """Return the metric: how much of the harm that `automated` suffers between test and test-shifted an arm avoids."""

    def undone(arm: dict[str, float], automated: dict[str, float]) -> float:
        harm, own = (m[f"test_{name}"] - m[f"test-shifted_{name}"] for m in (automated, arm))
        return 1 - own / harm

    return Metric("Harm undone, %", undone, 100, 0)


def _worst_recall(arm: dict[str, float], _: dict[str, float]) -> float:
    return min(value for name, value in arm.items() if name.startswith("test-shifted_recall_"))


HARM = _harm_undone("accuracy")
SHORTCUT = (
    percent("Accuracy, test", "test_accuracy", by_epoch="test_accuracy"),
    percent("Accuracy, test-shifted", "test-shifted_accuracy", by_epoch="test-shifted_accuracy"),
    number("Loss, test-shifted", "test-shifted_loss", by_epoch="test-shifted_loss", digits=2),
    HARM,
)
MNIST = (
    percent("Accuracy, test", "test_accuracy"),
    percent("Accuracy, test-shifted", "test-shifted_accuracy"),
    Metric("Worst class, test-shifted", _worst_recall, 100, 1),
)
PATCHES = (
    number("Loss, test", "test_loss", by_epoch="test_loss"),
    number("Loss with patches", "test-shifted_loss", by_epoch="test-shifted_loss"),
    _harm_undone("loss"),
    number("AUC, test", "test_auc"),
    number("AUC with patches", "test-shifted_auc"),
    percent("Accuracy, test", "test_accuracy", by_epoch="test_accuracy"),
    percent("Accuracy with patches", "test-shifted_accuracy", by_epoch="test-shifted_accuracy"),
)
AUC = number("AUC, test", "selected_test_auc")
PAPER = (
    number("Min loss, test", "min_test_loss"),
    number("Loss, test, selected on val", "selected_test_loss", by_epoch="test_loss"),
    percent("Accuracy, test", "selected_test_accuracy", by_epoch="test_accuracy"),
    AUC,
)
TABLE_2 = (
    percent("Accuracy, val", "val_accuracy", by_epoch="val_accuracy"),
    number("Min loss, val", "min_loss", by_epoch="val_loss"),
    percent("Accuracy, test", "selected_test_accuracy"),
    AUC,
)


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


EXPERIMENTS = {
    "decoy-digits": Experiment(
        "Does feedback undo a shortcut, and which part of the feedback does it?",
        "decoy-digits-20pct",
        minutes=8,
        metrics=SHORTCUT,
        arms=("automated", "hitl", *PLACEBOS),
        explainers=attention.METHODS,
    ),
    "decoy-mnist": Experiment(
        "The benchmark of Ross et al. 2017: how accurate is training with all masks, and with one mask in five?",
        "decoy-mnist",
        minutes=9,
        metrics=MNIST,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(1, [5]),
        variants={"100pct": {GIVEN: 1.0}, "20pct": {GIVEN: 0.2, "scenario.penalty.weight": 1000.0}},
    ),
    "isic2017": Experiment(
        "Does feedback lower the loss on the paper's data, and more than every placebo does?",
        "isic2017-10pct",
        minutes=22,
        metrics=PAPER,
        arms=("automated", "hitl", *PLACEBOS[:-1]),  # `as-published` gives the weights of `automated`, as a test shows
        changes=rounds(100, [1, 1, 1, 1, 4]),
    ),
    "isic2017-patches": Experiment(
        "A shortcut in photographs: how much of the harm does feedback undo?",
        "isic2017-patches",
        minutes=19,
        metrics=PATCHES,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(100, [1, 1, 1, 1, 4]),
        # A patch makes the network certain, so entropy sampling selects few images with a patch.
        variants={"random": {"scenario.query.strategy": "random"}, "entropy": {}},
    ),
    "idrid": Experiment(
        "IDRiD's photographs in the layout of APTOS 2019: does feedback lower the loss?",
        "idrid-100pct",
        minutes=8,
        metrics=PAPER,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(50, [1, 1, 1, 1, 4]),
        variants={"10pct": {"scenario.fraction": 0.1}, "100pct": {}},
    ),
    "crowds": Experiment(
        "How much of the gain remains if experts err about three regions in ten?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        variants={
            "one, right": crowd(1, 0.0, "majority"),
            "one": crowd(1, 0.3, "majority"),
            **{f"three, {rule}": crowd(3, 0.3, rule) for rule in get_args(Rule)},
            "three, soft": crowd(3, 0.3, "majority") | {"consensus": {"rule": "majority", "soft": True}},
        },
        explainers=(),
    ),
    "budget": Experiment(
        "How many answers does the gain need?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        variants={f"{n} answers": rounds(n, [1, 1, 1, 7]) for n in (200, 100, 50, 20)},
        explainers=(),
    ),
    "strategies": Experiment(
        "Does the choice of the queried images matter?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        changes=rounds(100, [1, 1, 1, 7]),
        variants={
            strategy: {"scenario.query.strategy": strategy}
            for strategy in ("entropy", "margin", "least-confident", "confident-mistakes", "random")
        },
        explainers=(),
    ),
    "paper-isic2017": Experiment(
        "The paper's protocol on ISIC 2017 at 10%: does feedback improve accuracy and minimum loss?",
        "isic2017-10pct",
        minutes=90,
        metrics=TABLE_2,
        arms=("automated", "hitl", "random-mask"),
        protocol=protocols.PAPER,
    ),
    "paper-aptos2019": Experiment(
        "The paper's protocol on IDRiD, in the layout of APTOS 2019: does feedback improve accuracy and minimum loss?",
        "aptos2019-10pct",
        minutes=20,
        metrics=TABLE_2,
        arms=("automated", "hitl", "random-mask"),
        protocol=protocols.PAPER,
    ),
}


def settings(name: str, variant: str, *, seed: int, others: Changes | None = None) -> Config:
    """Return all settings of one cell.

    Args:
        name: The experiment's name.
        variant: The variant's name.
        seed: The seed.
        others: Further changes, on top of the variant's changes.

    Returns:
        The validated settings; `hitl.scenarios` holds the experiment's scenario only.
    """
    experiment = EXPERIMENTS[name]
    document = _protocol(experiment)
    document["hitl"] |= {"scenarios": [experiment.scenario], "placebos": []}
    document["seed"] = seed
    changes = {**experiment.changes, **experiment.variants[variant], **(others or {})}
    changes.pop(GIVEN, None)
    for path, value in changes.items():
        section = document
        *parents, last = path.replace("scenario.", f"scenarios.{experiment.scenario}.", 1).split(".")
        for part in parents:
            section = section[part]
        section[last] = value
    return Config.model_validate(document)


def _protocol(experiment: Experiment) -> dict[str, Any]:
    """Return the experiment's file of settings as a tree; of the paper's protocol, the part of one scenario."""
    document = protocols.plain(experiment.protocol)
    if experiment.protocol == protocols.EXPERIMENTS:
        return document
    chosen: dict[str, Any] = protocols.chosen(document, only=experiment.scenario, backbone=BACKBONE)
    ((dataset, source),) = chosen["datasets"].items()
    # params/experiments.yaml has a data set with this name and another size.
    chosen["datasets"] = {f"{dataset}-paper": source}
    chosen["scenarios"][experiment.scenario]["dataset"] = f"{dataset}-paper"
    return chosen
