"""Settings of a scenario that do not suit findings, of which each is there or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pipeline.choices import OfFindings, nearest
from pipeline.config.scenarios import Scenario

OUTPUTS = get_args(OfFindings)


def problems(scenario: Scenario, findings: list[str]) -> Iterator[str]:
    """Yield each setting that does not suit these findings, with its place in the scenario and a remedy."""
    query, target = scenario.query, scenario.query.explain.target
    if scenario.train.class_balance == "sampler":
        yield "train.class_balance: an image has no one class to draw it by. Fix: choose loss or none"
    if query.strategy == "confident-mistakes":
        yield (
            "query.strategy: 'confident-mistakes' would explain another finding than the mistake, the least certain "
            "one. Fix: choose entropy, margin, least-confident or random"
        )
    if target not in ("predicted", *findings):
        yield (
            f"query.explain.target: {target!r} is no finding of the data set. Fix: "
            f"{nearest(target, ('predicted', *findings))}choose predicted, the least certain finding, or one of "
            f"{', '.join(findings)}"
        )
    if scenario.feedback.form == "penalty" and scenario.penalty.output not in OUTPUTS:
        yield (
            f"penalty.output: {scenario.penalty.output!r} mixes all findings, and a mark belongs to one. Fix: choose "
            f"{', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}"
        )
    if len(findings) > 1:
        yield from _mixing(scenario)


def _mixing(scenario: Scenario) -> Iterator[str]:
    """Yield the settings that would apply the marks of one finding to the others."""
    if scenario.feedback.form == "counterexamples":
        yield (
            "feedback.form: 'counterexamples' would hide the marks of one finding from all. Fix: choose penalty, which "
            "keeps findings apart"
        )
    if scenario.feedback.spread:
        yield "feedback.spread: it would spread the marks of one finding to all. Fix: set it to off"
    if scenario.query.strategy == "spread-entropy":
        yield "query.strategy: 'spread-entropy' mixes the marks of all findings. Fix: choose entropy"
