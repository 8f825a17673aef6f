"""Queries as Label Studio's tasks: what an expert sees, where the answer belongs, and what a server has of it.

Imports no SDK, since ``query-export`` writes tasks without ever talking to a server. The
same manifest gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelstudio.exchange.records import AnnotationError, Manifest, Query
from labelstudio.exchange.regions import to_result

# One constant: Label Studio pre-fills only the predictions of the project's own version.
MODEL_VERSION = "lookaway"


@dataclass(frozen=True)
class Task:
    """One query as it lies on the server; predictions and annotations are the server's own JSON.

    One that is ``withdrawn`` is shown to nobody any more, but takes the answer of whoever has it open.
    """

    id: int
    key: str
    image_id: str
    predictions: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    round: str = ""
    withdrawn: bool = False

    @classmethod
    def of(cls, row: dict[str, Any]) -> Task:
        """What Label Studio's list has in this row."""
        data, withdrawn = row["data"], row["overlap"] == 0
        parts = data["key"], data["image_id"], row["predictions"], row["annotations"], data["round"]
        return cls(row["id"], *parts, withdrawn)

    def experts(self) -> set[int]:
        """The accounts that have answered it; a skipped query is not answered."""
        by = [a["completed_by"] for a in self.annotations if not a["was_cancelled"]]
        return {who["id"] if isinstance(who, dict) else who for who in by}

    def prediction(self) -> dict[str, Any]:
        """What experts start from: the latest prediction of ours."""
        ours = [p for p in self.predictions if p["model_version"] == MODEL_VERSION]
        if not ours:
            raise AnnotationError(f"task {self.id} has lost its regions; delete it in Label Studio")
        return max(ours, key=lambda prediction: int(prediction["id"]))


def tasks(
    manifest: Manifest, image_url: Callable[[Query], str], heat_url: Callable[[Query], str]
) -> list[dict[str, Any]]:
    """One task per query, in the manifest's order; the functions say where its pictures are."""
    # Numbered as they are served: the least certain first.
    queries = manifest.keys()
    served = sorted(queries, key=lambda key: -queries[key].entropy)
    position = {key: f"{number} of {len(served)}" for number, key in enumerate(served, start=1)}
    return [
        {
            "data": {
                "image": image_url(query),
                "heat": heat_url(query),
                "position": position[key],
                "key": key,
                "image_id": query.image_id,
                "scenario": manifest.scenario,
                "round": manifest.round,
                "label": query.label,
                "prediction": query.prediction,
                "probabilities": _readable(query.probabilities),
                "uncertainty": round(query.entropy, 4),
            },
            "predictions": [
                {
                    "model_version": MODEL_VERSION,
                    # "Uncertainty sampling" serves the lowest score first.
                    "score": min(max(1 - query.entropy, 0.0), 1.0),
                    "result": to_result(query),
                }
            ],
        }
        for key, query in queries.items()
    ]


def write_tasks(manifest: Manifest, folder: Path, path: Path) -> None:
    """Write ``tasks.json`` with the pictures inside, to be imported into any Label Studio by hand.

    ``folder`` is where the manifest's picture paths start. Those of the saliency are left out: Label Studio
    shows them only from a URL.
    """
    inside = tasks(manifest, lambda query: _data_uri(query, folder), lambda _: "")
    text = json.dumps(inside, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def picture(query: Query, folder: Path) -> bytes:
    """The query's picture, checked against its digest: no answer may end up on another image."""
    path = folder / query.image
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != query.digest:
        raise AnnotationError(f"{path} is not the picture that was asked about; run `dvc repro` to write it again")
    return content


def heat(query: Query, folder: Path) -> bytes:
    """The picture of the query's saliency, if it has one."""
    return _read(folder / query.heat)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot read {path} ({error.strerror}); run `dvc repro` to write it again") from error


def _data_uri(query: Query, folder: Path) -> str:
    kind = mimetypes.guess_type(query.image)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(picture(query, folder)).decode('ascii')}"


def _readable(probabilities: dict[str, float]) -> str:
    """The three likeliest classes, as in "8: 61% · 3: 22% · 5: 9%"."""
    likeliest = sorted(probabilities.items(), key=lambda item: (-item[1], item[0]))[:3]
    return " · ".join(f"{name}: {probability:.0%}" for name, probability in likeliest)
