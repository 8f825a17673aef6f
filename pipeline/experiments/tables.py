"""What the cells say, in Markdown: every number with its interval over seeds, every arm beside `automated`.

The tables stand in docs/results.md, between comments that name their experiment; what is written around them is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.statistics import Interval, mcnemar, mean_over_seeds, paired_difference, show, verdict
from pipeline.experiments import catalogue, cells
from pipeline.experiments.catalogue import Experiment, Metric
from pipeline.experiments.cells import Result
from pipeline.report.tables import Table, markdown

RESULTS = Path("docs/results.md")
LOOKS = ("deeplift", "integrated-gradients", "grad-cam", "gradient")
PUBLISHED = {  # Table 2 of Serrano e Silva et al. 2023: accuracy (%) and minimum loss without feedback, and with
    "paper-isic2017": ("ISIC 2017, 10%", "85.91, 0.52", "83.87, 0.47"),
    "paper-aptos2019": ("APTOS 2019, 10%; ours: IDRiD", "78.41, 0.63", "81.14, 0.61"),
}


def write(names: list[str]) -> None:
    """Put the tables of these experiments into docs/results.md, as far as they have run."""
    for name in names:
        put(name, tables(name))
    if PUBLISHED.keys() & set(names):
        put("table-2", markdown(beside_the_paper()))


def put(name: str, tables: str) -> None:
    """Replace what docs/results.md has between the comments of that name."""
    text, begin, end = RESULTS.read_text(encoding="utf-8"), f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{RESULTS} has no place for the tables of {name}: {begin.strip()} … {end}")
    text = text.partition(begin)[0] + begin + tables + end + text.partition(end)[2]
    RESULTS.write_text(text, encoding="utf-8")


def tables(name: str) -> str:
    """All tables of one experiment."""
    about = catalogue.EXPERIMENTS[name]
    found = {variant: _seeds(name, variant) for variant in about.variants}
    found = {variant: seeds for variant, seeds in found.items() if seeds}
    if not found:
        return "Not run yet.\n"
    count = sorted({len(seeds) for seeds in found.values()})
    ran = "1 seed" if count == [1] else f"{' or '.join(map(str, count))} seeds"
    said = f"`python -m pipeline.experiments {name}`: {ran}{_cost(found)}."
    shown = _variants(about, found) if len(about.variants) > 1 else []
    for variant, seeds in found.items() if about.looks else []:
        suffix = f", {variant}" if variant else ""
        shown += [*_arms(about, seeds, suffix), *_attention(seeds, suffix), *_spent(about, seeds, suffix)]
    return f"{said}\n\n{''.join(map(markdown, shown))}"


def beside_the_paper() -> Table:
    """The paper's Table 2 and ours: a row a data set."""
    rows = []
    for name, (title, *published) in PUBLISHED.items():
        seeds, texts = _seeds(name, ""), []
        for arm in ("automated", "hitl", "random-mask") if seeds else ():
            readings = ((mean_over_seeds(_values(seeds, arm, m)), m) for m in catalogue.TABLE_2[:2])
            texts.append(", ".join(show(reading, m.scale, m.digits) for reading, m in readings))
        rows.append([title, *published, *(texts or ["not run yet", "", ""])])
    theirs = ["the paper, without", "the paper, with feedback"]
    ours = ["ours, without; with, as published", "ours, with, as written", "ours, marks at random"]
    return Table("Accuracy (%) and minimum loss on validation images", ["", *theirs, *ours], rows, names=1)


def _cost(found: dict[str, list[Result]]) -> str:
    """What a cell took, as far as none was interrupted."""
    timed = [seed["minutes"] for seeds in found.values() for seed in seeds if seed["minutes"]]
    if not timed:
        return ""
    least, most = f"{min(timed):.0f}", f"{max(timed):.0f}"
    took = least if least == most else f"{least} to {most}"
    return f", {took} min {'each' if len(found) == 1 else 'a seed of each variant'}"


def _seeds(name: str, variant: str) -> list[Result]:
    found = [cells.result(name, variant, seed) for seed in range(catalogue.EXPERIMENTS[name].seeds)]
    return [one for one in found if one is not None]


def _arms(about: Experiment, seeds: list[Result], suffix: str) -> list[Table]:
    """A row an arm: each metric, and its difference from `automated`, paired by seed; then `hitl` and its placebos."""
    metrics = about.metrics
    heads = [text for metric in metrics for text in (metric.title, "against automated")]
    rows = []
    for arm in seeds[0]["arms"]:
        texts = []
        for metric in metrics:
            ours, theirs = _values(seeds, arm, metric), _values(seeds, "automated", metric)
            texts.append(show(mean_over_seeds(ours), metric.scale, metric.digits))
            texts.append("" if arm == "automated" else difference(paired_difference(ours, theirs), metric))
        rows.append([arm, *texts, "" if arm == "automated" else _mcnemar(seeds, arm)])
    found = [Table(f"Every arm{suffix}", ["Arm", *heads, "McNemar's p"], rows, names=1)]
    if against := _placebos(seeds):
        found.append(_hitl_less(f"`hitl` less its placebos{suffix}", against, seeds, metrics))
    return found


def _placebos(seeds: list[Result]) -> list[str]:
    return [arm for arm in seeds[0]["arms"] if arm not in ("hitl", "automated", "baseline")]


def _hitl_less(title: str, others: list[str], seeds: list[Result], metrics: Sequence[Metric]) -> Table:
    """A row each of these other arms: what `hitl` has more of, paired by seed."""
    rows = []
    for arm in others:
        pairs = [(_values(seeds, "hitl", m), _values(seeds, arm, m), m) for m in metrics]
        rows.append([arm, *(difference(paired_difference(a, b), m) for a, b, m in pairs)])
    return Table(title, ["Arm", *(metric.title for metric in metrics)], rows, names=1)


def _attention(seeds: list[Result], suffix: str) -> list[Table]:
    """A row an arm: where its network looks, by explainers of which only the last was trained on."""
    columns = {"marked": "marked", "evidence": "on the evidence", "pointing": "pointing game"}
    known = seeds[0]["arms"]["baseline"]["numbers"]
    metrics = [
        catalogue.percent(f"{title}, {way}", f"{what}_{way}")
        for what, title in columns.items()
        for way in LOOKS
        if f"{what}_{way}" in known
    ]
    if not metrics:
        return []
    rows = [
        [arm, *(f"{100 * _values(seeds, arm, metric).mean():.1f}" for metric in metrics)] for arm in seeds[0]["arms"]
    ]
    title, heads = f"Share of the attention, %, mean over seeds{suffix}", ["Arm", *(m.title for m in metrics)]
    against = [arm for arm in ("baseline", "automated", "random-mask") if arm in seeds[0]["arms"]]
    return [
        Table(title, heads, rows, names=1),
        _hitl_less(f"The share that `hitl` has, less the others'{suffix}", against, seeds, metrics),
    ]


def _spent(about: Experiment, seeds: list[Result], suffix: str) -> list[Table]:
    """What the answers bought: a row a round."""
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
                texts.append(show(reading, metric.scale, metric.digits))
        rows.append([f"{answers:.0f}", f"{seconds / 60:.1f}", *texts])
    title = f"What the answers bought, at the end of each round{suffix}"
    return [Table(title, ["Answers", "Expert minutes", *heads], rows, names=0)]


def _variants(about: Experiment, found: dict[str, list[Result]]) -> list[Table]:
    """A row a variant: `hitl`, its difference from `automated`, and what share of the first row's that is, if shown.

    Then what `hitl` is in each, less what it is in the first, paired by seed.
    """
    metrics = about.metrics
    first = next(iter(found))
    heads = [text for metric in metrics for text in (metric.title, "against automated", f"of the gain of {first!r}")]
    rows, less = [], []
    for variant, seeds in found.items():
        texts, differences = [], []
        for metric in metrics:
            gain = _gain(seeds, metric)
            ours, theirs = _values(seeds, "hitl", metric), _values(found[first], "hitl", metric)
            texts.append(show(mean_over_seeds(ours), metric.scale, metric.digits))
            texts.append(difference(mean_over_seeds(gain), metric))
            reference = _gain(found[first], metric)
            shown = not any(mean_over_seeds(one).includes_zero() for one in (gain, reference))
            texts.append(f"{gain.mean() / reference.mean():.0%}" if shown and len(reference) == len(gain) else "")
            both = len(ours) == len(theirs)
            differences.append(difference(paired_difference(ours, theirs), metric) if both else "")
        rows.append([variant, *texts])
        less.append([variant, *differences])
    titles = ["Variant", *(metric.title for metric in metrics)]
    return [
        Table("Every variant of `hitl`", ["Variant", *heads], rows, names=1),
        Table(f"`hitl` in each variant, less that in {first!r}", titles, less[1:], names=1),
    ]


def _gain(seeds: list[Result], metric: Metric) -> NDArray[np.float64]:
    return _values(seeds, "hitl", metric) - _values(seeds, "automated", metric)


def _values(seeds: list[Result], arm: str, metric: Metric) -> NDArray[np.float64]:
    return np.array([metric.of(seed["arms"][arm]["numbers"], seed["arms"]["automated"]["numbers"]) for seed in seeds])


def difference(found: Interval, metric: Metric) -> str:
    """As in ``+0.02 [-0.01, +0.05]: no difference shown``."""
    text = show(found, metric.scale, metric.digits, sign=True)
    return text if verdict(found) != "no difference shown" else f"{text}: no difference shown"


def _mcnemar(seeds: list[Result], arm: str) -> str:
    """Of each seed, on the split where the shortcut misleads if there is one; small ones tell predictions apart."""
    found = []
    for seed in seeds:
        ours, theirs = (seed["arms"][which]["right"] for which in (arm, "automated"))
        split = "test-shifted" if "test-shifted" in ours else "test"
        bits = [np.unpackbits(np.frombuffer(bytes.fromhex(one[split]), np.uint8)) for one in (ours, theirs)]
        found.append(mcnemar(*bits))
    return ", ".join(f"{p:.2g}" for p in found)


def _at_end(seed: Result, arm: str, step: str, column: str) -> float:
    """A reading after an arm's last epoch of a round."""
    curve = seed["arms"][arm]["curve"]
    rows = [row for row in curve["data"] if row[curve["columns"].index("step")] == step]
    return float(rows[-1][curve["columns"].index(column)])
