"""The screening of a data set for people: sentences, and a page of its own."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import naming_damage
from pipeline.evaluation.statistics import Interval, show
from pipeline.paths import originals_file
from pipeline.report import templates
from pipeline.report.table import Table
from pipeline.screening.readings import FEW

FIRST = 5  # readings that are put into sentences; the page's table has all
MANY = 5  # classes; of more, a table of shares has the most frequent one

Found = dict[str, Any]  # as pipeline/screening/screen.py returns it


def read(path: Path) -> Found:
    """Return the screening that the stage `screen` wrote; raises DamagedFileError."""
    with naming_damage(path):
        found: Found = json.loads(path.read_text(encoding="utf-8"))
        return found


def sentences(found: Found) -> list[str]:
    """Return what experts should look out for, and which near-duplicates matter; the first sentence says how many."""
    readings = found["readings"]
    predicting = _predicting(found)
    if not readings:
        first = "no reading could be compared with the class, for lack of training images"
    else:
        first = f"{len(predicting)} of {len(readings)} readings predict the class by themselves"
    lines = [f"{found['dataset']}: {first}."]
    if found["findings"]:
        lines.append("The class of an image is its rarest finding here.")
    for one in predicting[:FIRST]:
        name = one["name"] if one["name"].startswith("`") else one["name"].capitalize()
        auc = f"{name} alone predicts the class with AUC {show(_interval(one))}."
        lines.append(f"{auc} {_contrast(one, found['classes']).text} {one['look']}")
    if others := predicting[FIRST:]:
        lines.append(f"These tell less: {', '.join(one['name'] for one in others)}.")
    return [*lines, *_near(found)]


def in_short(found: Found) -> list[str]:
    """Return the names of the readings that predict the class, and the near-duplicates that matter."""
    named = "; ".join(f"{one['name']}, AUC {show(_interval(one))}" for one in found["readings"] if one["predicts"])
    return [f"Readings that predict the class by themselves: {named or 'none'}.", *_near(found)]


def html(found: Found) -> str:
    """Return the page; the same screening gives the same page."""
    near = found["near_duplicates"]
    pairs = [[*one["ids"], " and ".join(one["splits"]), " and ".join(one["labels"])] for one in near["shown"]]
    return templates.page("screening.html.j2").render(
        found=found,
        sentences=sentences(found),
        shown={one["name"]: show(_interval(one)) for one in found["readings"]},
        shares=[_table(one, found["classes"]) for one in _predicting(found)],
        pairs=Table("The first pairs that matter", ["Image", "Image", "Splits", "Classes"], pairs, "", names=4),
        originals=originals_file(found["dataset"]),
    )


def _interval(one: Found) -> Interval:
    return Interval(one["auc"], one["low"], one["high"])


def _predicting(found: Found) -> list[Found]:
    """Return the readings that predict the class, the most telling first."""
    predicting = [one for one in found["readings"] if one["predicts"]]
    return sorted(predicting, key=lambda one: -_contrast(one, found["classes"]).least)


@dataclass(frozen=True)
class _Contrast:
    """The two values of a reading between which the share of a class differs most.

    Attributes:
        text: The two shares in words.
        least: The difference less its 95% margin. Unlike the AUC, it does not overlook a telling value of few images.
    """

    text: str
    least: float


def _contrast(one: Found, classes: list[str]) -> _Contrast:
    every = {row["value"]: row["images"] for row in one["values"]}
    counts = {value: images for value, images in every.items() if sum(images.values()) >= FEW}
    counts = counts if len(counts) > 1 else every
    total = {label: sum(row["images"][label] for row in one["values"]) for label in classes}

    def shares(label: str) -> dict[str, float]:
        return {value: some[label] / sum(some.values()) for value, some in counts.items()}

    def span(label: str) -> float:
        return round(max(shares(label).values()) - min(shares(label).values()), 9)

    label = max(sorted(classes, key=lambda label: total[label]), key=span)  # of two classes, the rarer one
    found = shares(label)
    ends = [min(found, key=lambda value: found[value]), max(found, key=lambda value: found[value])]
    sizes = [sum(counts[value].values()) for value in ends]
    smoothed = [(counts[value][label] + 1) / (size + 2) for value, size in zip(ends, sizes, strict=True)]
    margin = 1.96 * math.sqrt(sum(p * (1 - p) / size for p, size in zip(smoothed, sizes, strict=True)))
    parts = [f"{found[v]:.0%} of the {size} images with {one['name']} {v}" for v, size in zip(ends, sizes, strict=True)]
    return _Contrast(f"Class {label}: {', '.join(parts)}.", span(label) - margin)


def _near(found: Found) -> list[str]:
    near, lines = found["near_duplicates"], []
    files = f"{originals_file(found['dataset'])} has their files."
    if near["train_and_held_out"]:
        lines.append(
            f"Near-duplicates in train and a held-out split: {near['train_and_held_out']} pairs. Results on these "
            f"images are too good. Put both into one split, or remove one; {files}"
        )
    if near["contradicting"]:
        lines.append(
            f"Near-duplicates with two classes: {near['contradicting']} pairs. Correct or remove them; {files}"
        )
    return lines


def _table(one: Found, classes: list[str]) -> Table:
    """Return the share of each class by value; with many classes, the most frequent one."""
    rows = []
    for row in one["values"]:
        total = sum(row["images"].values())
        if len(classes) > MANY:
            most = max(classes, key=lambda label: row["images"][label])
            cells = [f"{most}, {row['images'][most] / total:.0%}"]
        else:
            cells = [f"{row['images'][label] / total:.0%}" for label in classes]
        rows.append([row["value"], str(total), *cells])
    heads = ["Most frequent class"] if len(classes) > MANY else classes
    return Table(one["name"].strip("`"), ["Value", "Training images", *heads], rows, one["how"], names=1)
