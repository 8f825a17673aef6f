"""The tables of docs/results, in Markdown: each number with its interval over seeds.

Each experiment has a file of its own in docs/results/tables. The pages of docs/results include these files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.statistics import Interval, mcnemar, mean_over_seeds, paired_difference, show, verdict
from pipeline.experiments import catalogue, cells
from pipeline.experiments.cells import Result
from pipeline.experiments.experiment import Experiment, Metric, percent
from pipeline.experiments.metrics import TABLE_2
from pipeline.report.table import Table, markdown

FOLDER = Path("docs/results/tables")
AT_MOST = 6  # columns that a reader must compare
EXPLAINERS = ("deeplift", "integrated-gradients", "grad-cam", "gradient")
ATTENTION = {  # prefix of a number → title
    "marked": "Attention inside the marks, %",
    "evidence": "Attention on the evidence, %",
    "pointing": "Pointing game, % of images whose most salient pixel is on the evidence",
}
PUBLISHED = {  # Table 2 of Serrano e Silva et al. 2023: accuracy (%) and minimum loss without feedback, and with
    "paper-isic2017": ("ISIC 2017, 10%", "85.91, 0.52", "83.87, 0.47"),
    "paper-aptos2019": ("APTOS 2019, 10%; ours: IDRiD", "78.41, 0.63", "81.14, 0.61"),
}


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment, over its seeds."""

    name: str
    seeds: list[Result]

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """Return the metric of each seed, (seeds,)."""
        arms = [seed["arms"] for seed in self.seeds]
        return np.array([metric.of(one[self.name]["numbers"], one["automated"]["numbers"]) for one in arms])


def write(names: list[str]) -> None:
    """Write the tables of these experiments; an experiment without results says so."""
    for name in names:
        put(name, tables(name))
    if PUBLISHED.keys() & set(names):
        put("table-2", markdown(beside_the_paper()))


def put(name: str, text: str) -> None:
    """Write docs/results/tables/<name>.md."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(f"{text.rstrip()}\n", encoding="utf-8")


def tables(name: str) -> str:
    """Return all tables of one experiment."""
    about = catalogue.EXPERIMENTS[name]
    found = {variant: seeds_of(name, variant) for variant in about.variants}
    found = {variant: seeds for variant, seeds in found.items() if seeds}
    if not found:
        return f"`lookaway experiments {name}`: not run yet.\n"
    count = sorted({len(seeds) for seeds in found.values()})
    ran = "1 seed" if count == [1] else f"{' or '.join(map(str, count))} seeds"
    shown = _variants(about, found) if len(about.variants) > 1 else []
    for variant, seeds in found.items() if about.explainers or len(about.arms) > 2 else []:
        suffix = f", variant {variant}" if variant else ""
        of_variant = [*_arms(about, seeds), *_attention(seeds), *_spent(about, seeds)]
        shown += [replace(table, title=f"{table.title}{suffix}") for table in of_variant]
    return f"`lookaway experiments {name}`: {ran}{_cost(found)}.\n\n{''.join(map(markdown, shown))}"


def beside_the_paper() -> Table:
    """Return the paper's Table 2 beside our results: a row a data set."""
    rows = []
    for name, (title, *published) in PUBLISHED.items():
        seeds, texts = seeds_of(name, ""), []
        for arm in ("automated", "hitl", "random-mask") if seeds else ():
            readings = [(mean_over_seeds(Arm(arm, seeds).values(m)), m) for m in TABLE_2[:2]]
            texts.append(", ".join(show(reading, scale=m.scale, digits=m.digits) for reading, m in readings))
        rows.append([title, *published, *(texts or ["not run yet", "", ""])])
    theirs = ["paper, baseline", "paper, HITL"]
    ours = ["ours, `automated`", "ours, `hitl`", "ours, `random-mask`"]
    return Table("Accuracy (%) and minimum loss on validation images", ["Data set", *theirs, *ours], rows, names=1)


def difference(found: Interval, metric: Metric) -> str:
    """Return a difference as in ``+0.02 [-0.01, +0.05]: no difference shown``."""
    text = show(found, scale=metric.scale, digits=metric.digits, sign=True)
    return text if verdict(found) != "no difference shown" else f"{text}: no difference shown"


def seeds_of(name: str, variant: str) -> list[Result]:
    """Return the results of a variant's seeds that are there."""
    found = [cells.result(name, variant, seed) for seed in range(catalogue.EXPERIMENTS[name].seeds)]
    return [one for one in found if one is not None]


def _cost(found: dict[str, list[Result]]) -> str:
    """Return the minutes of a cell, over all cells that were not interrupted."""
    timed = [seed["minutes"] for seeds in found.values() for seed in seeds if seed["minutes"]]
    if not timed:
        return ""
    least, most = f"{min(timed):.0f}", f"{max(timed):.0f}"
    took = least if least == most else f"{least} to {most}"
    return f", {took} min {'each' if len(found) == 1 else 'a seed of each variant'}"


def _arms(about: Experiment, seeds: list[Result]) -> list[Table]:
    """Tables with a row an arm: its metrics, minus `automated`, and `hitl` minus each other arm."""
    arms = {name: Arm(name, seeds) for name in seeds[0]["arms"]}
    hitl, automated = arms["hitl"], arms["automated"]
    others = {name: arm for name, arm in arms.items() if name != "automated"}
    rest = {name: arm for name, arm in others.items() if name not in ("hitl", "baseline")}
    against = _differences("Each arm minus `automated`", "Arm", _paired(others, automated), about.metrics)
    against = replace(
        against,
        heads=[*against.heads, "McNemar's p, by seed"],
        rows=[[*row, _mcnemar(seeds, row[0])] for row in against.rows],
    )
    minus = {name: (hitl, arm) for name, arm in rest.items()}
    found = [_values("Every arm", "Arm", arms, about.metrics), against]
    found += [_differences("`hitl` minus each other arm", "Other arm", minus, about.metrics)] if minus else []
    return [part for table in found for part in _narrow(table)]


def _attention(seeds: list[Result]) -> list[Table]:
    """Tables of where each arm's network looks: a row an arm, a column an explainer."""
    arms = {name: Arm(name, seeds) for name in seeds[0]["arms"]}
    known = seeds[0]["arms"]["baseline"]["numbers"]
    against = {name: (arms["hitl"], arms[name]) for name in ("baseline", "automated", "random-mask") if name in arms}
    found = []
    for what, title in ATTENTION.items():
        metrics = [percent(one, f"{what}_{one}") for one in EXPLAINERS if f"{what}_{one}" in known]
        if metrics:
            rows = [[name, *(f"{100 * arm.values(m).mean():.1f}" for m in metrics)] for name, arm in arms.items()]
            found += [
                Table(f"{title}, mean over seeds", ["Arm", *(m.title for m in metrics)], rows, names=1),
                _differences(f"{title}, `hitl` minus another arm", "Other arm", against, metrics),
            ]
    return found


def _spent(about: Experiment, seeds: list[Result]) -> list[Table]:
    """Tables of the metrics after each round, beside the answers given so far."""
    if not seeds[0]["rounds"]:
        return []
    shown = [metric for metric in about.metrics if metric.by_epoch]
    heads = [f"{m.by_epoch.replace('_', ' ')}, {arm}" for m in shown for arm in ("hitl", "automated")]
    rows = []
    for number, (step, *_) in enumerate(seeds[0]["rounds"]):
        answers = np.mean([sum(r[1] for r in seed["rounds"][: number + 1]) for seed in seeds])
        seconds = np.mean([sum(r[2] for r in seed["rounds"][: number + 1]) for seed in seeds])
        texts = []
        for metric in shown:
            for arm in ("hitl", "automated"):
                reading = mean_over_seeds([_at_end(seed, arm, step, metric.by_epoch) for seed in seeds])
                texts.append(show(reading, scale=metric.scale, digits=metric.digits))
        rows.append([f"{answers:.0f}", f"{seconds / 60:.1f}", *texts])
    return _narrow(Table("Results after each round", ["Answers", "Expert minutes", *heads], rows, names=2))


def _variants(about: Experiment, found: dict[str, list[Result]]) -> list[Table]:
    """Tables of `hitl` with a row a variant: its metrics, minus `automated`, and minus the first variant."""
    metrics = about.metrics
    hitl = {variant: Arm("hitl", seeds) for variant, seeds in found.items()}
    against = {variant: (arm, Arm("automated", arm.seeds)) for variant, arm in hitl.items()}
    first, *others = hitl
    minus = _paired({variant: hitl[variant] for variant in others}, hitl[first])
    shown = [
        _values("`hitl` in each variant", "Variant", hitl, metrics),
        _differences("`hitl` minus `automated` in each variant", "Variant", against, metrics),
        _shares(against, metrics),
        _differences(f"`hitl` in each variant minus `hitl` in '{first}'", "Variant", minus, metrics),
    ]
    return [part for table in shown for part in _narrow(table)]


def _paired(arms: dict[str, Arm], other: Arm) -> dict[str, tuple[Arm, Arm]]:
    return {label: (arm, other) for label, arm in arms.items()}


def _values(title: str, head: str, arms: dict[str, Arm], metrics: Sequence[Metric]) -> Table:
    """A row an arm: each metric with its interval."""
    rows = [
        [label, *(show(mean_over_seeds(arm.values(m)), scale=m.scale, digits=m.digits) for m in metrics)]
        for label, arm in arms.items()
    ]
    return Table(title, [head, *(metric.title for metric in metrics)], rows, names=1)


def _differences(title: str, head: str, pairs: dict[str, tuple[Arm, Arm]], metrics: Sequence[Metric]) -> Table:
    """A row a pair of arms: the first minus the second, paired by seed; empty where a seed of either is missing."""
    rows = []
    for label, (ours, theirs) in pairs.items():
        both = len(ours.seeds) == len(theirs.seeds)
        found = [(paired_difference(ours.values(m), theirs.values(m)), m) for m in metrics] if both else []
        rows.append([label, *([difference(one, m) for one, m in found] or [""] * len(metrics))])
    return Table(title, [head, *(metric.title for metric in metrics)], rows, names=1)


def _shares(pairs: dict[str, tuple[Arm, Arm]], metrics: Sequence[Metric]) -> Table:
    """A row a pair of arms: its difference in percent of the first pair's, where both differences are shown."""
    first = next(iter(pairs))
    texts: dict[str, list[str]] = {label: [] for label in pairs}
    for metric in metrics:
        gains = {label: ours.values(metric) - theirs.values(metric) for label, (ours, theirs) in pairs.items()}
        shown = {label: not mean_over_seeds(gain).includes_zero() for label, gain in gains.items()}
        for label, gain in gains.items():
            known = shown[label] and shown[first] and len(gain) == len(gains[first])
            texts[label].append(f"{gain.mean() / gains[first].mean():.0%}" if known else "")
    return Table(
        f"`hitl` minus `automated`, in percent of that difference in '{first}'",
        ["Variant", *(metric.title for metric in metrics)],
        [[label, *row] for label, row in texts.items()],
        "Empty cells: of one of the two differences, no difference is shown.",
        names=1,
    )


def _narrow(table: Table) -> list[Table]:
    """Cut a table with too many columns of numbers into several tables of about equal width."""
    numbers = len(table.heads) - table.names
    count = math.ceil(numbers / AT_MOST)
    if count < 2:
        return [table]
    parts = []
    for number, columns in enumerate(np.array_split(np.arange(numbers) + table.names, count)):
        chosen = [*range(table.names), *columns]
        title = f"{table.title} ({number + 1} of {count})"
        heads, *rows = ([row[column] for column in chosen] for row in (table.heads, *table.rows))
        parts.append(replace(table, title=title, heads=heads, rows=rows))
    return parts


def _mcnemar(seeds: list[Result], arm: str) -> str:
    """Return each seed's p against `automated`, on test-shifted where there is one; two digits."""
    found = []
    for seed in seeds:
        ours, theirs = (seed["arms"][which]["right"] for which in (arm, "automated"))
        split = "test-shifted" if "test-shifted" in ours else "test"
        bits = [np.unpackbits(np.frombuffer(bytes.fromhex(one[split]), np.uint8)) for one in (ours, theirs)]
        found.append(mcnemar(*bits))
    return ", ".join(f"{p:.2g}" for p in found)


def _at_end(seed: Result, arm: str, step: str, column: str) -> float:
    """Return a metric after an arm's last epoch of a round."""
    curve = seed["arms"][arm]["curve"]
    rows = [row for row in curve["data"] if row[curve["columns"].index("step")] == step]
    return float(rows[-1][curve["columns"].index(column)])
