"""report/index.html: the whole comparison as one page that needs neither a server nor a network."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from labelstudio.exchange import effects
from labelstudio.exchange.records import read_answers, submitted
from labelstudio.reading import outlines
from pipeline.arms import results
from pipeline.config import Config, Scenario
from pipeline.errors import naming_damage
from pipeline.paths import asked_file, curves_file, explanations_file, screening_file, step_dir
from pipeline.report import provenance, screening, templates
from pipeline.report.table import Table
from pipeline.report.tables import CAVEAT


@dataclass(frozen=True)
class Round:
    """The queries and marks of a round; the picture is a data URI."""

    n: str
    picture: str


@dataclass(frozen=True)
class Section:
    """A scenario on the page.

    Attributes:
        name: The scenario's name.
        sentences: The meaning of its result; empty without rounds.
        curves: The curves of all arms, a data URI.
        explanations: The explanations of all arms, a data URI.
        rounds: The rounds; empty for a scenario without experts.
        agreement: How much the experts of each round agreed.
        corrections: What experts made of pre-filled marks, and the gestures of an answer.
        reasons: The marks by reason; no rows if no mark has one.
        outlines: The experts' agreement with the proposals, with and without outlines; no rows if all had outlines.
        contradictions: The answers that contradict themselves; no rows if there is none.
        decisions: The queries that one account decided; no rows if there is none.
        effect: The attention on what must not matter, before and after each round.
        cost: The cost of each arm.
        screening: The screening of the data set, in sentences, by the data set's name.
        data: The digests of the prepared data set and of the external sets, by name.
    """

    name: str
    sentences: list[str]
    curves: str
    explanations: str
    rounds: list[Round]
    agreement: Table
    corrections: Table
    reasons: Table
    outlines: Table
    contradictions: Table
    decisions: Table
    effect: Table
    cost: Table
    screening: dict[str, list[str]]
    data: dict[str, str]


def html(config: Config, *, words: dict[str, list[str]], tables: list[Table]) -> str:
    """Return the page; the same files give the same page.

    Args:
        config: The settings, which the page shows.
        words: The meaning of the result of each scenario with rounds.
        tables: The tables of all scenarios.
    """
    return templates.page("page.html.j2").render(
        sections=[_section(config, name, words.get(name, [])) for name in config.scenarios],
        tables=tables,
        caveat=CAVEAT,
        commit=provenance.commit(),
        params=yaml.safe_dump(config.model_dump(exclude={"protocols"}), sort_keys=False, width=100),
    )


def _section(config: Config, name: str, sentences: list[str]) -> Section:
    rounds = [entry.n for entry in config.hitl.rounds] if name in config.hitl.scenarios else []
    dataset = config.scenario(name).dataset
    return Section(
        name=name,
        sentences=sentences,
        curves=_png(curves_file(name)),
        explanations=_png(explanations_file(name)),
        rounds=[Round(n, _png(asked_file(name, n))) for n in rounds],
        agreement=_agreement(name, rounds),
        corrections=_corrections(name, rounds),
        reasons=_reasons(name, rounds),
        outlines=_outlines(name, rounds),
        contradictions=_contradictions(name, rounds),
        decisions=_decisions(name, rounds),
        effect=_effect(name, rounds),
        cost=_cost(config, name, rounds),
        screening={dataset: screening.sentences(screening.read(screening_file(dataset)))},
        data={one: provenance.data(one) for one in _data_sets(config.scenario(name))},
    )


def _data_sets(scenario: Scenario) -> list[str]:
    return [scenario.dataset, *(one.dataset for one in scenario.external)]


def _agreement(name: str, rounds: list[str]) -> Table:
    """Return how much the experts of each round agreed; experts have numbers, so that the page names nobody."""
    heads = ["Round", "Expert", "Answers", "Alpha", "IoU", "Correct on known queries"]
    rows = []
    for n in rounds:
        found = _crowd(step_dir(name, n) / "crowd.json")
        if len(found["experts"]) > 1:
            readings = [found["answered"], found["alpha"], found["iou"], None]
            rows.append([n, f"all, on {found['queries']} queries", *map(_cell, readings)])
        for number, own in enumerate(found["experts"].values(), start=1):
            readings = [own["answers"], own["alpha"], own["iou"], own["accuracy"]]
            rows.append([n, str(number), *map(_cell, readings)])
    return Table(
        "Agreement of the experts",
        heads,
        rows,
        "Alpha: Krippendorff's alpha, 1 for full agreement, 0 for agreement by chance. IoU: intersection over union of "
        "the marks of two experts. Cells without a comparison are empty.",
    )


def _corrections(name: str, rounds: list[str]) -> Table:
    """Return the marks of each round that were pre-filled or added, and the gestures of an answer."""
    rows = []
    for n in rounds:
        found = _crowd(step_dir(name, n) / "crowd.json").get("corrections")
        if found:  # files from before pre-filled marks have none
            marks = ["confirmed", "rejected", "added", "precision", "clicks", "keys", "seconds"]
            rows.append([n, *(_cell(found[mark]) for mark in marks)])
    return Table(
        "Marks and gestures",
        ["Round", "Pre-filled marks confirmed", "Taken back", "Added marks", "Precision", "Clicks", "Keys", "Seconds"],
        rows,
        "Precision: the share of the pre-filled marks that experts confirmed. Clicks and keys: the fewest that lead to "
        "an answer, region by region, besides submitting (mean). Seconds: the median of an answer.",
        names=1,
    )


def _reasons(name: str, rounds: list[str]) -> Table:
    """Return the marks of each round by reason, with their effect."""
    rows = []
    for n in rounds:
        for reason, one in _crowd(step_dir(name, n) / "crowd.json").get("reasons", {}).items():
            shares = ["" if share is None else f"{share:.0%}" for share in (one["before"], one["after"])]
            rows.append([n, reason, str(one["marks"]), str(one["images"]), *shares])
    return Table(
        "Reasons for the marks",
        ["Round", "Reason", "Marks", "Images", "Attention on what must not matter, before", "after"],
        rows,
        "Attention: mean over the images that have a mark with this reason.",
    )


def _outlines(name: str, rounds: list[str]) -> Table:
    """Return the experts' agreement with the proposals, with and without outlines, in each round and in all of them."""
    rows, everything = [], list[tuple[outlines.Share, outlines.Share]]()
    for n in rounds:
        for number, own in enumerate(_crowd(step_dir(name, n) / "crowd.json")["experts"].values(), start=1):
            if "outlines" in own:
                everything.append(outlines.read(own["outlines"]))
                rows.append([n, str(number), *_belief(own["outlines"])])
    if len(rows) > 1:
        shown, blind = (outlines.pooled(list(some)) for some in zip(*everything, strict=True))
        rows.append(["all", "all", *_belief(outlines.compared(shown, blind))])
    return Table(
        "Agreement with the model's proposals",
        ["Round", "Expert", "With outlines", "Without outlines", "Difference"],
        rows,
        "The share of the proposals that an expert leaves as they are (unmarked, or pre-filled), with its 95% interval "
        "and the number of queries. A positive difference means that experts agree more where they see the outlines.",
        names=2,
    )


def _belief(found: dict[str, Any]) -> list[str]:
    return [outlines.words(found[name]) for name in ("with", "without", "difference")]


def _contradictions(name: str, rounds: list[str]) -> Table:
    """Return the answers of each round that contradict themselves; experts have the numbers of the table above."""
    rows = []
    for n in rounds:
        found = _crowd(step_dir(name, n) / "crowd.json")
        numbers = {expert: str(number) for number, expert in enumerate(found["experts"], start=1)}
        for one in found.get("contradictions", []):  # files from before there were two kinds of marks have none
            rows.append([n, numbers.get(one["expert"], ""), one["image_id"], one["what"]])
    return Table("Answers that contradict themselves", ["Round", "Expert", "Image", "Contradiction"], rows, "", names=3)


def _decisions(name: str, rounds: list[str]) -> Table:
    """Return the queries on which experts disagreed, with the answer of each expert and the decision."""
    rows = []
    for n in rounds:
        found = _crowd(step_dir(name, n) / "crowd.json")
        numbers = {expert: number for number, expert in enumerate(found["experts"], start=1)}
        for one in found.get("decisions", []):
            said = "; ".join(f"{numbers[expert]}: {word}" for expert, word in one["said"].items())
            rows.append([n, one["image_id"], said, one["decision"]])
    return Table("Decided disputes", ["Round", "Image", "Answers of the experts", "Decision"], rows, "", names=4)


def _crowd(path: Path) -> dict[str, Any]:
    with naming_damage(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def _effect(name: str, rounds: list[str]) -> Table:
    """Return the mean share of the attention on what must not matter, before and after each round's training."""
    rows = []
    for n in rounds:
        seen = effects.read(step_dir(name, n) / "effect.json")
        shares = [f"{sum(found) / len(seen):.0%}" for found in zip(*((e.before, e.after) for e in seen), strict=True)]
        rows.append([n, str(len(seen)), *(shares or ["", ""])])
    return Table(
        "Effect of the marks",
        ["Round", "Marked images", "Attention on what must not matter, before", "after"],
        rows,
        "Attention: the absolute saliency of the class that was predicted in the query, or of the finding that it was "
        "about. Mean over the marked images.",
        names=1,
    )


def _cost(config: Config, name: str, rounds: list[str]) -> Table:
    """Return the epochs of each arm, and the answers and the time of the experts."""
    answers = [a for n in rounds for a in read_answers(step_dir(name, n) / "answers.json") if not a.skipped]
    seconds = [answer.lead_time for answer in answers if answer.lead_time is not None]
    time = f"median {median(seconds):.0f} s an answer, total {sum(seconds) / 60:.1f} min" if seconds else ""
    rows = []
    for arm in results.arms(config, name):
        own = results.own_epochs(results.history(results.final_dir(config, name, arm)), arm)
        given = [str(submitted(answers)), time] if arm == "hitl" else ["", ""]
        rows.append([arm, str(len(own)), f"{own['penalised_fraction'].mean():.0%}", *given])
    return Table(
        "Cost of each arm",
        ["Arm", "Epochs", "Penalised images", "Answers", "Expert time"],
        rows,
        "Epochs: the arm's own; all other arms start from the baseline's last epoch. Penalised images: the mean share "
        "of training images with a mask in these epochs. Expert time: as measured by Label Studio.",
        names=1,
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _png(path: Path) -> str:
    """Return a picture as a data URI."""
    with naming_damage(path):
        content = path.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
