"""Which experiments there are: what is varied, which arms are trained, and what a seed of it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.choices import Method
from pipeline.config import Config
from pipeline.evaluation import attention
from pipeline.experiments import protocols

BACKBONE = "efficientnet-lite0"  # of the paper's protocol: weights that need no network
PLACEBOS = ("random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published")
Changes = dict[str, Any]  # dotted settings → values; "scenario.…" is this experiment's
GIVEN = "given"  # among changes: such a share of the training images comes with masks, and nobody is asked


@dataclass(frozen=True)
class Metric:
    """A number that an experiment is about, of an arm's numbers and those of `automated`.

    ``by_epoch`` is what the curves call it.
    """

    title: str
    of: Callable[[dict[str, float], dict[str, float]], float]
    scale: float = 1.0
    digits: int = 3
    by_epoch: str = ""


def number(title: str, name: str, by_epoch: str = "", *, scale: float = 1, digits: int = 3) -> Metric:
    """A number of this name in the history or in an arm's summary."""
    return Metric(title, lambda arm, _: arm[name], scale, digits, by_epoch)


def percent(title: str, name: str, by_epoch: str = "") -> Metric:
    """A share of this name, in percent."""
    return number(title, name, by_epoch, scale=100, digits=1)


def _closed(name: str) -> Metric:
    """Of what `automated` is worse where the shortcut misleads, the share that an arm is not, in percent."""

    def closed(arm: dict[str, float], automated: dict[str, float]) -> float:
        lost, own = (m[f"test_{name}"] - m[f"test-shifted_{name}"] for m in (automated, arm))
        return 1 - own / lost

    return Metric("Harm undone, %", closed, 100, 0)


def _worst_recall(arm: dict[str, float], _: dict[str, float]) -> float:
    return min(value for name, value in arm.items() if name.startswith("test-shifted_recall_"))


HARM = _closed("accuracy")
SHORTCUT = (
    percent("Accuracy, test", "test_accuracy", "test_accuracy"),
    percent("Accuracy, test-shifted", "test-shifted_accuracy", "test-shifted_accuracy"),
    number("Loss, test-shifted", "test-shifted_loss", digits=2, by_epoch="test-shifted_loss"),
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
    _closed("loss"),
    number("AUC, test", "test_auc"),
    number("AUC with patches", "test-shifted_auc"),
    percent("Accuracy, test", "test_accuracy", "test_accuracy"),
    percent("Accuracy with patches", "test-shifted_accuracy", "test-shifted_accuracy"),
)
AUC = number("AUC, test", "selected_test_auc")
PAPER = (
    number("Min loss, test", "min_test_loss"),
    number("Loss, test, selected on val", "selected_test_loss", by_epoch="test_loss"),
    percent("Accuracy, test", "selected_test_accuracy", "test_accuracy"),
    AUC,
)
TABLE_2 = (
    percent("Accuracy, val", "val_accuracy", "val_accuracy"),
    number("Min loss, val", "min_loss", by_epoch="val_loss"),
    percent("Accuracy, test", "selected_test_accuracy"),
    AUC,
)


@dataclass(frozen=True)
class Experiment:
    """One question: a scenario, the arms that answer it, and variants of its settings; others are held to the first.

    ``arms`` beside the baseline, `hitl` before what follows it. A cell is one seed of one variant; ``minutes`` is what
    it takes on one CPU core. ``looks``: the explainers by which attention is measured, if any. ``protocol``:
    where the scenario is; the paper's is run as `make paper` runs it.
    """

    question: str
    scenario: str
    minutes: float
    metrics: tuple[Metric, ...]
    arms: tuple[str, ...] = ("automated", "hitl")
    changes: Changes = field(default_factory=dict)  # of all variants
    variants: dict[str, Changes] = field(default_factory=lambda: {"": {}})
    seeds: int = 5
    looks: tuple[Method, ...] = attention.QUICK
    protocol: Path = protocols.EXPERIMENTS


def rounds(queries: int, epochs: list[int]) -> Changes:
    """So many queries in all, evenly over rounds of so many epochs each."""
    each = [queries // len(epochs) + (n < queries % len(epochs)) for n in range(len(epochs))]
    names = [f"{n:02d}" for n in range(len(epochs))]
    before = ["start", *names]
    entries = [
        {"n": n, "after": after, "queries": q, "epochs": e}
        for n, after, q, e in zip(names, before, each, epochs, strict=False)
    ]
    return {"hitl.rounds": entries, "hitl.last": names[-1]}


def crowd(experts: int, wrong: float, rule: str) -> Changes:
    """Experts that answer every query, each wrong about such a share of the regions."""
    member = {"miss_rate": wrong, "false_alarm_rate": wrong}
    return {"annotate.crowd": [member] * experts, "annotate.experts_per_query": experts, "consensus": {"rule": rule}}


EXPERIMENTS = {
    "decoy-digits": Experiment(
        "Does feedback undo a shortcut, and which of its parts does?",
        "decoy-digits-20pct",
        minutes=8,
        metrics=SHORTCUT,
        arms=("automated", "hitl", *PLACEBOS),
        looks=attention.METHODS,
    ),
    "decoy-mnist": Experiment(
        "Ross et al.'s benchmark: how well with all masks, how well with one in five?",
        "decoy-mnist",
        minutes=9,
        metrics=MNIST,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(1, [5]),
        variants={"100pct": {GIVEN: 1.0}, "20pct": {GIVEN: 0.2, "scenario.penalty.weight": 1000.0}},
    ),
    "isic2017": Experiment(
        "The paper's data: is loss lower with feedback than without, and than with every placebo?",
        "isic2017-10pct",
        minutes=22,
        metrics=PAPER,
        arms=("automated", "hitl", *PLACEBOS[:-1]),  # as-published comes to the bytes of `automated`, as a test shows
        changes=rounds(100, [1, 1, 1, 1, 4]),
    ),
    "isic2017-patches": Experiment(
        "A shortcut in photographs: how much of the harm is undone?",
        "isic2017-patches",
        minutes=19,
        metrics=PATCHES,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(100, [1, 1, 1, 1, 4]),
        # A network that is sure of itself because of a patch is not uncertain: entropy asks about few of them.
        variants={"random": {"scenario.query.strategy": "random"}, "entropy": {}},
    ),
    "idrid": Experiment(
        "The paper's other data, in the layout of APTOS 2019.",
        "idrid-100pct",
        minutes=8,
        metrics=PAPER,
        arms=("automated", "hitl", "random-mask"),
        changes=rounds(50, [1, 1, 1, 1, 4]),
        variants={"10pct": {"scenario.fraction": 0.1}, "100pct": {}},
    ),
    "crowds": Experiment(
        "Experts who are wrong about three regions in ten: what is left of the gain?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        variants={
            "one, right": crowd(1, 0.0, "majority"),
            "one": crowd(1, 0.3, "majority"),
            **{f"three, {rule}": crowd(3, 0.3, rule) for rule in ("majority", "any", "all", "dawid-skene")},
            "three, soft": crowd(3, 0.3, "majority") | {"consensus": {"rule": "majority", "soft": True}},
        },
        looks=(),
    ),
    "budget": Experiment(
        "How many answers does it take?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        variants={f"{n} answers": rounds(n, [1, 1, 1, 7]) for n in (200, 100, 50, 20)},
        looks=(),
    ),
    "strategies": Experiment(
        "Does it matter which images are asked about?",
        "decoy-digits-20pct",
        minutes=2,
        metrics=SHORTCUT,
        changes=rounds(100, [1, 1, 1, 7]),
        variants={
            strategy: {"scenario.query.strategy": strategy}
            for strategy in ("entropy", "margin", "least-confident", "confident-mistakes", "random")
        },
        looks=(),
    ),
    "paper-isic2017": Experiment(
        "The paper's protocol, ISIC 2017 at 10%: are its accuracy and minimum loss better with feedback?",
        "isic2017-10pct",
        minutes=90,
        metrics=TABLE_2,
        arms=("automated", "hitl", "random-mask"),
        protocol=protocols.PAPER,
    ),
    "paper-aptos2019": Experiment(
        "The same, on IDRiD's photographs in the layout of APTOS 2019.",
        "aptos2019-10pct",
        minutes=20,
        metrics=TABLE_2,
        arms=("automated", "hitl", "random-mask"),
        protocol=protocols.PAPER,
    ),
}


def settings(name: str, variant: str, seed: int, others: Changes | None = None) -> Config:
    """The whole of the settings of one cell, but for these others."""
    experiment = EXPERIMENTS[name]
    document = _protocol(experiment)
    document["hitl"] |= {"scenarios": [experiment.scenario], "placebos": []}
    document["seed"] = seed
    changes = {**experiment.changes, **experiment.variants[variant], **(others or {})}
    changes.pop(GIVEN, None)
    for path, value in changes.items():
        place = document
        *parents, last = path.replace("scenario.", f"scenarios.{experiment.scenario}.", 1).split(".")
        for part in parents:
            place = place[part]
        place[last] = value
    return Config.model_validate(document)


def _protocol(experiment: Experiment) -> Changes:
    document = protocols.plain(experiment.protocol)
    if experiment.protocol == protocols.EXPERIMENTS:
        return document
    chosen: Changes = protocols.chosen(document, only=experiment.scenario, backbone=BACKBONE)
    ((dataset, source),) = chosen["datasets"].items()
    chosen["datasets"] = {f"{dataset}-paper": source}  # beside those of the same name and another size
    chosen["scenarios"][experiment.scenario]["dataset"] = f"{dataset}-paper"
    return chosen
