"""The experiments: each one's scenario, arms, variants and metrics, and the cost of a seed."""

from __future__ import annotations

from typing import Any, get_args

from pipeline.choices import Rule
from pipeline.config import Config
from pipeline.evaluation import attention
from pipeline.experiments import protocols
from pipeline.experiments.experiment import Changes, Experiment, crowd, rounds
from pipeline.experiments.metrics import GESTURES, MNIST, NATURAL, PAPER, PATCHES, PLAIN, RULER, SHORTCUT, TABLE_2, TRAP

BACKBONE = "efficientnet-lite0"  # for the paper's protocol: its weights need no network
PLACEBOS = ("random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published")
PAPERS_FORM = {"hitl-eq2": {"scenario.feedback": {"form": "penalty"}}}  # Eq. 2, on the answered images alone
GIVEN = "given"  # in a variant's changes: the share of the training images with given masks, in place of answers

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
    "isic-ruler": Experiment(
        "A natural shortcut, rulers that go with melanoma: does feedback help the images that go against it?",
        "isic-ruler",
        minutes=9,
        metrics=RULER,
        arms=("automated", "hitl", "random-mask", "hitl-eq2"),
        variants={f"{n} answers": rounds(n, [1]) for n in (20, 100)},
        forms=PAPERS_FORM,
        each_epoch=False,
        explainers=(),
    ),
    "prefill": Experiment(
        "How few clicks and keys does an answer take if the earlier answers have marked the query already?",
        "isic-ruler",
        minutes=3,
        metrics=GESTURES,
        changes=rounds(60, [1, 1, 1]) | {"scenario.query.prefill": True, "scenario.feedback.refit": None},
        variants={f"{n} regions": {"scenario.query.proposals": n} for n in (8, 16)},
        each_epoch=False,
        explainers=(),
    ),
    "isic-trap": Experiment(
        "Natural artefacts that go with the label in training and against it in test: does feedback help?",
        "isic-trap",
        minutes=70,
        metrics=TRAP,
        arms=("automated", "hitl", "random-mask", "hitl-eq2", "masktune", "exact-masks"),
        variants={"100 answers": rounds(100, [5])},
        forms=PAPERS_FORM,
        each_epoch=False,
        explainers=(),
    ),
    "isic-patches-natural": Experiment(
        "Real patches that mean benign: how many melanomas that a patch hides does feedback bring back?",
        "isic-patches-natural",
        minutes=12,
        metrics=NATURAL,
        arms=("automated", "hitl", "random-mask", "hitl-eq2"),
        variants={"100 answers": rounds(100, [4])},
        forms=PAPERS_FORM,
        each_epoch=False,
        explainers=(),
    ),
    "isic-plain": Experiment(
        "ISIC 2017 as it is: does spread feedback harm where we know of no shortcut?",
        "isic-plain",
        minutes=5,
        metrics=PLAIN,
        arms=("automated", "hitl", "random-mask"),
        variants={"100 answers": rounds(100, [1])},
        each_epoch=False,
        explainers=(),
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
