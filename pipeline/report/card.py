"""The model card of a scenario: its data, splits, arms, results and limits, for readers who have nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipeline.arms import results
from pipeline.config import Config
from pipeline.data import prepared
from pipeline.data.prepared import EXTERNAL, Prepared, in_order
from pipeline.errors import naming_damage
from pipeline.evaluation.statistics import verdict
from pipeline.feedback import masks
from pipeline.paths import card_file, prepared_dir, screening_file, step_dir
from pipeline.report import provenance, screening, table, tables
from pipeline.report.annotated import Numbers
from pipeline.report.comparison import Result

TEMPLATE = Path(__file__).with_name("card.md.j2")
FEW = 30  # images of a class in a split: a smaller number says little of the class


def write(config: Config, scenario: str, result: Result, numbers: Numbers | None) -> None:
    """Write report/cards/<scenario>.md; the same files give the same card.

    Args:
        config: The settings.
        scenario: The scenario's name.
        result: The scenario's result.
        numbers: The numbers of its annotated set; None for a scenario without rounds.
    """
    settings = config.scenario(scenario)
    data, manifest = prepared.read(prepared_dir(settings.dataset)), _manifest(settings.dataset)
    splits = {split: manifest["counts"][split] for split in in_order(manifest["counts"])}
    of_patients = data.index["group"].notna().all()
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=scenario,
        arms=results.arms(config, scenario),
        settings=settings,
        size=data.images.shape[1],
        fit=", the middle of its longer side"
        if getattr(config.datasets[settings.dataset], "fit", "") == "crop"
        else "",
        network=_network(config, scenario),
        seed=config.seed,
        commit=provenance.commit(),
        data=manifest,
        digest=manifest["sha256"]["images.npy"],
        trained=result.images,
        splits=splits,
        findings=data.findings,
        images=data.index["split"].value_counts().to_dict(),
        external={s: len(o.right) for s, o in result.outcomes["automated"].items() if s.startswith(EXTERNAL)},
        patients="All images of a patient or group are in one split." if of_patients else PATIENTS_UNKNOWN,
        results="".join(map(table.markdown, tables.tables({scenario: result}))),
        numbers=numbers,
        simulated=_simulated(config),
        spread=_spread(config, scenario) if numbers else "",
        limits=_limits(config, scenario, result, data=data, splits=splits),
    )
    card_file(scenario).parent.mkdir(parents=True, exist_ok=True)
    card_file(scenario).write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")


PATIENTS_UNKNOWN = "The patients of some images are not known, so a patient may be in several splits."


def _limits(
    config: Config, scenario: str, result: Result, *, data: Prepared, splits: dict[str, dict[str, int]]
) -> list[str]:
    """Return the limits that follow from the settings, the data and the numbers."""
    found = [
        "Research: no network here is a medical device, and none has been tested in a clinic.",
        tables.CAVEAT,
    ]
    external = [one.dataset for one in config.scenario(scenario).external]
    if not external:
        found.append("No external test set: images from another site or device may have worse results.")
    rarest = {split: min(counts, key=lambda label: counts[label]) for split, counts in splits.items()}
    few = [f"{splits[s][c]} of {c} in {s}" for s, c in rarest.items() if s != "train" and splits[s][c] < FEW]
    if few:
        found.append(f"Few images to measure on: {', '.join(few)}.")
    if not data.attributes:
        found.append("The data name no attributes, such as site, device, age or sex, so groups are not compared.")
    elif not result.groups.get("automated"):
        found.append(f"Groups are not compared, although the data have {', '.join(data.attributes)}.")
    found += tables.lowest_in_words(result)
    found += screening.in_short(screening.read(screening_file(config.scenario(scenario).dataset)))
    if data.index["group"].isna().any():
        found.append(PATIENTS_UNKNOWN)
    if scenario in config.hitl.scenarios:
        if _simulated(config):
            found.append("The answers are simulated, so the gain is at most what people could reach with such answers.")
        for split in in_order(result.outcomes["hitl"]):
            if split.startswith(("test", EXTERNAL)):
                ours, theirs = result.outcomes["hitl"][split], result.outcomes["automated"][split]
                found.append(
                    f"Accuracy of hitl against automated on {split}: {verdict(tables.paired(ours, theirs)[0])}."
                )
    return found


def _network(config: Config, scenario: str) -> str:
    """Return the architecture and the source of its weights, through scenarios that start from each other."""
    seen, name = set(), scenario
    while name in config.scenarios and name not in seen:
        seen.add(name)
        init = Path(config.scenarios[name].init)
        if init.stem in config.backbones:
            backbone = config.backbones[init.stem]
            return f"{backbone.architecture}, weights: {backbone.weights}"
        name = next(iter(init.parts[1:2]), "")
    return "unknown"


def _spread(config: Config, scenario: str) -> str:
    entries = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    count = sum(entry.kind == "spread" and entry.round == config.hitl.last for entry in entries)
    return f"A small model spread these marks to {count} other images." if count else ""


def _simulated(config: Config) -> bool:
    return config.annotate.expert == "simulated"


def _manifest(dataset: str) -> dict[str, Any]:
    path = prepared_dir(dataset) / "manifest.json"
    with naming_damage(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
