"""The annotated set of a scenario: its answers and masks under pseudonyms, and their description in Croissant.

    answers.json        a line for each answer: round, image, expert (a number), verdict, seconds, regions as marked
    masks/<image>.png   white where the model must not look, by all rounds together; images without marks have no mask
    croissant.json      the description of these files for catalogues of data sets

Images are named by their ids in the prepared data set. No expert's address and no time of day is in these files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelstudio.exchange.geometry import SHAPES
from labelstudio.exchange.records import Answer, Manifest, Query, read_answers
from labelstudio.reading.verdicts import verdict
from pipeline.config import Config
from pipeline.feedback import masks
from pipeline.paths import annotated_dir, step_dir
from pipeline.report import provenance

KEPT = ("id", "type", "value", "origin", "original_width", "original_height")  # of a region; others may be free text
TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
FIELDS = {  # of a line of answers.json: name → its type and its meaning
    "round": ("sc:Text", "The round in which the query was asked, two digits."),
    "image": ("sc:Text", "The id of the image in the prepared data set, which tells neither its file nor its patient."),
    "expert": ("sc:Integer", "The number of the expert, the same in all rounds of this set."),
    "verdict": ("sc:Text", "The meaning of the answer as a whole, such as `marked` or `nothing to disregard`."),
    "seconds": ("sc:Float", "The time that the expert took, as measured by Label Studio."),
}
FINDING = {"finding": ("sc:Text", "The finding that the query was about, and that the image's mask belongs to.")}


@dataclass(frozen=True)
class Numbers:
    """The numbers of an annotated set; ``area`` is the mean share of a marked image that must not matter."""

    answers: int
    experts: int
    queries: int
    marked: int
    area: float


def write(config: Config, scenario: str) -> Numbers:
    """Write the annotated set of a scenario with rounds; equal answers give equal bytes."""
    folder = annotated_dir(scenario)
    shutil.rmtree(folder, ignore_errors=True)  # no mask of an earlier run stays
    (folder / "masks").mkdir(parents=True)
    rounds = [entry.n for entry in config.hitl.rounds]
    queries = {n: Manifest.read(step_dir(scenario, n) / "queries.json").keys() for n in rounds}
    given = [(n, a) for n in rounds for a in read_answers(step_dir(scenario, n) / "answers.json") if not a.skipped]
    experts = {name: number for number, name in enumerate(sorted({a.expert for _, a in given}), start=1)}
    lines = [_line(n, a, expert=experts[a.expert], query=queries[n].get(a.key)) for n, a in given]
    text = ",\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "answers.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    areas = masks.marked(masks.read(step_dir(scenario, config.hitl.last) / "masks.npz"))
    for image_id, area in areas.items():
        Image.fromarray(np.rint(255 * area).astype(np.uint8)).save(folder / "masks" / f"{image_id}.png")
    numbers = Numbers(
        answers=len(lines),
        experts=len(experts),
        queries=sum(map(len, queries.values())),
        marked=len(areas),
        area=float(np.mean([area.mean() for area in areas.values()])) if areas else 0.0,
    )
    fields = FIELDS | (FINDING if any("finding" in line for line in lines) else {})
    described = _croissant(config, scenario, folder, numbers=numbers, fields=fields)
    (folder / "croissant.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return numbers


def _line(round: str, answer: Answer, *, expert: int, query: Query | None) -> dict[str, Any]:
    entries = [entry for entry in answer.result if isinstance(entry, dict)]
    known = [entry for entry in entries if entry.get("type") in (*SHAPES, "labels", "choices")]
    return {
        "round": round,
        "image": answer.image_id,
        "expert": expert,
        "verdict": verdict(answer, query).value,
        "seconds": answer.lead_time,
        **({"finding": query.finding} if query and query.finding else {}),
        **({"blind": True} if answer.blind else {}),
        **({"decides": True} if answer.decides else {}),
        "regions": [{name: entry[name] for name in KEPT if name in entry} for entry in known],
    }


def _croissant(
    config: Config, scenario: str, folder: Path, *, numbers: Numbers, fields: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    dataset = config.scenario(scenario).dataset
    who = "simulated experts" if config.annotate.expert == "simulated" else "experts"
    digest = hashlib.sha256((folder / "answers.json").read_bytes()).hexdigest()
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"lookaway-{scenario}-annotations",
        "description": (
            f"Answers of {who} to queries on training images of the data set {dataset}, and masks of the regions "
            f"that a classifier must not look at. Answers: {numbers.answers}, experts: {numbers.experts}, queries: "
            f"{numbers.queries}, images with a mask: {numbers.marked}. The prepared images are not part of this set; "
            f"their SHA-256 is {provenance.data(dataset)}."
        ),
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "answers",
                "name": "answers",
                "contentUrl": "answers.json",
                "encodingFormat": "application/json",
                "sha256": digest,
            },
            {
                "@type": "cr:FileSet",
                "@id": "mask-files",
                "name": "mask-files",
                "description": "Greyscale pictures of the masks: 255 where the model must not look, less where experts "
                "disagree and masks are soft.",
                "includes": "masks/*.png",
                "encodingFormat": "image/png",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "answer",
                "name": "answer",
                "description": "Each submitted answer of an expert. Its `regions` are in percent of the "
                "picture, as Label Studio has them.",
                "field": [
                    _field(
                        f"answer/{name}",
                        kind,
                        meaning,
                        {"fileObject": {"@id": "answers"}},
                        {"jsonPath": f"$[*].{name}"},
                    )
                    for name, (kind, meaning) in fields.items()
                ],
            },
            {
                "@type": "cr:RecordSet",
                "@id": "mask",
                "name": "mask",
                "description": "The mask of each image with a mark, from the answers of all rounds.",
                "key": {"@id": "mask/image"},
                "field": [
                    _field(
                        "mask/image", "sc:Text", FIELDS["image"][1], MASKS, {"fileProperty": "filename"}, r"(.*)\.png$"
                    ),
                    _field("mask/mask", "sc:ImageObject", "The mask.", MASKS, {"fileProperty": "content"}),
                ],
            },
        ],
    }


MASKS = {"fileSet": {"@id": "mask-files"}}


def _field(name: str, kind: str, meaning: str, of: dict[str, Any], extract: dict[str, str], regex: str = "") -> Any:
    source = {**of, "extract": extract, **({"transform": {"regex": regex}} if regex else {})}
    return {"@type": "cr:Field", "@id": name, "name": name, "description": meaning, "dataType": kind, "source": source}
