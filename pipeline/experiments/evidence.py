"""report/evidence.json: what the experiments show, as flat numbers for programs; written with the tables.

``{experiment}-{variant}.{arm}.{metric}`` is an arm's own number and ``{experiment}-{variant}.{arm}-{other}.{metric}`` a
difference paired by seed, each as [mean, low, high] with the 95% interval over seeds. Shares are from 0 to 1. `placebo`
is `random-mask`: as many marks at random places, spread in the same way. ``{experiment}-{variant}.hitl.expert_minutes``
is the experts' time.
"""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np

from pipeline.evaluation.statistics import Interval, mean_over_seeds, paired_difference
from pipeline.experiments.catalogue import EXPERIMENTS
from pipeline.experiments.tables import Arm, seeds_of

FILE = Path("report/evidence.json")
NAMES = {"random-mask": "placebo"}
DIGITS = 5


def write() -> None:
    """Write the numbers of all experiments that have metrics with a key, from the results that are there."""
    found: dict[str, list[float | None]] = {}
    for name, about in EXPERIMENTS.items():
        keyed = [metric for metric in about.metrics if metric.key]
        for variant in about.variants if keyed else ():
            if seeds := seeds_of(name, variant):
                arms = [Arm(arm, seeds) for arm in seeds[0]["arms"]]
                start = f"{name}-{variant.partition(' ')[0]}"
                minutes = [sum(spent for _, _, spent in seed["rounds"]) / 60 for seed in seeds]
                found[f"{start}.hitl.expert_minutes"] = _numbers(mean_over_seeds(np.array(minutes)))
                for metric in keyed:
                    for arm in arms:
                        own = mean_over_seeds(arm.values(metric))
                        found[f"{start}.{_known(arm)}.{metric.key}"] = _numbers(own)
                    for one, other in permutations(arms, 2):
                        difference = paired_difference(one.values(metric), other.values(metric))
                        found[f"{start}.{_known(one)}-{_known(other)}.{metric.key}"] = _numbers(difference)
    if found:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def _known(arm: Arm) -> str:
    return NAMES.get(arm.name, arm.name)


def _numbers(found: Interval) -> list[float | None]:
    """Return [mean, low, high]; of a single seed, the bounds are not known."""
    bounds = (found.value, found.low, found.high)
    return [round(bound, DIGITS) if math.isfinite(bound) else None for bound in bounds]
