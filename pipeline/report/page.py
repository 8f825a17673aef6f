"""report/index.html: the whole comparison as one page that needs neither a server nor a network."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml
from jinja2 import Environment, StrictUndefined

from labelstudio.exchange import before_after
from labelstudio.exchange.records import read_answers
from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import asked_file, curves_file, explanations_file, step_dir
from pipeline.report import provenance
from pipeline.report.tables import CAVEAT, Table

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Round:
    """What was asked in a round, and what was marked: a picture as a data URI."""

    n: str
    picture: str


@dataclass(frozen=True)
class Section:
    """A scenario: what it means in words; pictures are data URIs; without rounds, nobody was asked."""

    name: str
    words: list[str]
    curves: str
    explanations: str
    rounds: list[Round]
    crowd: Table
    effect: Table
    cost: Table
    data: str


def html(config: Config, words: dict[str, list[str]], tables: list[Table]) -> str:
    """The page: ``words`` has what each scenario that asked experts means; the same files give the same page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        sections=[_section(config, name, words.get(name, [])) for name in config.scenarios],
        tables=tables,
        caveat=CAVEAT,
        commit=provenance.commit(),
        params=yaml.safe_dump(config.model_dump(exclude={"protocols"}), sort_keys=False, width=100),
    )


def _section(config: Config, name: str, words: list[str]) -> Section:
    rounds = [entry.n for entry in config.hitl.rounds] if name in config.hitl.scenarios else []
    return Section(
        name,
        words,
        _png(curves_file(name).read_bytes()),
        _png(explanations_file(name).read_bytes()),
        [Round(n, _png(asked_file(name, n).read_bytes())) for n in rounds],
        _crowd(name, rounds),
        _effect(name, rounds),
        _cost(config, name, rounds),
        provenance.data(config.scenario(name).dataset),
    )


def _crowd(name: str, rounds: list[str]) -> Table:
    """How the experts of each round agreed; they are numbered, for their accounts are nobody else's business."""
    heads = ["Round", "Expert", "Answers", "Alpha", "IoU", "Right on known queries"]
    rows = []
    for n in rounds:
        found = json.loads((step_dir(name, n) / "crowd.json").read_text(encoding="utf-8"))
        if len(found["experts"]) > 1:
            readings = [found["answered"], found["alpha"], found["iou"], None]
            rows.append([n, f"all, on {found['queries']} queries", *map(_cell, readings)])
        for number, own in enumerate(found["experts"].values(), start=1):
            readings = [own["answers"], own["alpha"], own["iou"], own["accuracy"]]
            rows.append([n, str(number), *map(_cell, readings)])
    return Table(
        "How the experts agreed",
        heads,
        rows,
        "Krippendorff's alpha: 1 where they always agree, 0 where as often as by chance. IoU: what two experts marked, "
        "intersection over union. Empty where there is nothing to compare.",
    )


def _effect(name: str, rounds: list[str]) -> Table:
    """Where the network looked on the marked images before it had learned from a round's marks, and after."""
    rows = []
    for n in rounds:
        seen = before_after.read(step_dir(name, n) / "effect.json")
        shares = [f"{sum(found) / len(seen):.0%}" for found in zip(*((e.before, e.after) for e in seen), strict=True)]
        rows.append([n, str(len(seen)), *(shares or ["", ""])])
    return Table(
        "What the marks did",
        ["Round", "Images marked", "Attention inside the marks, before", "… and after the round"],
        rows,
        "Attention: the absolute saliency of the class predicted when the image was asked about; the mean over images.",
    )


def _cost(config: Config, name: str, rounds: list[str]) -> Table:
    answers = [a for n in rounds for a in read_answers(step_dir(name, n) / "answers.json") if not a.skipped]
    seconds = [answer.lead_time for answer in answers if answer.lead_time is not None]
    time = f"{median(seconds):.0f} s each, {sum(seconds) / 60:.1f} min in all" if seconds else ""
    rows = []
    for arm in results.arms(config, name):
        own = results.own_epochs(results.history(results.final_dir(config, name, arm)), arm)
        asked = [str(len(answers)), time] if arm == "hitl" else ["", ""]
        rows.append([arm, str(len(own)), f"{own['penalised_fraction'].mean():.0%}", *asked])
    return Table(
        "What it cost",
        ["Arm", "Epochs", "Images penalised", "Answers", "Expert time"],
        rows,
        "Epochs of the arm itself: all but the baseline start from the baseline. Images penalised: the share of "
        "training images that carried a mask, over these epochs. Expert time: median and total, by Label Studio.",
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _png(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
