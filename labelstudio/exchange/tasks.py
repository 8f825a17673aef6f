"""Queries as Label Studio's tasks, for an upload and in a server's list.

This module imports no SDK, because ``query-export`` writes tasks without a server. The same manifest gives the same
bytes.
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

from labelstudio.exchange.records import AnnotationError, Manifest, Query, naming_damage
from labelstudio.exchange.regions import is_prefilled, joined, to_result

# Label Studio pre-fills only predictions of the project's own model version, so the version never changes.
MODEL_VERSION = "lookaway"


@dataclass(frozen=True)
class Task:
    """One query as the server has it.

    Attributes:
        id: The task's number on the server.
        key: The query's key.
        image_id: The image's id in the data set.
        predictions: The server's own JSON.
        annotations: The server's own JSON.
        round: The round that asks the query.
        blind: True if it shows no proposals.
        withdrawn: True if the server does not show the task any more; an expert with the task open can still submit.
    """

    id: int
    key: str
    image_id: str
    predictions: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    round: str = ""
    blind: bool = False
    withdrawn: bool = False

    @classmethod
    def of(cls, row: dict[str, Any]) -> Task:
        """Return the task in one row of Label Studio's list."""
        data = row["data"]
        return cls(
            id=row["id"],
            key=data["key"],
            image_id=data["image_id"],
            predictions=row["predictions"],
            annotations=row["annotations"],
            round=data["round"],
            blind=bool(data.get("blind")),  # tasks of earlier versions have no such field
            withdrawn=row["overlap"] == 0,
        )

    def experts(self) -> set[int]:
        """Return the numbers of the accounts that answered the task; a skip is no answer.

        An answer of a deleted account counts as an account of its own, with the negative number of the answer.
        """
        given = [entry for entry in self.annotations if not entry["was_cancelled"]]
        return {-entry["id"] if (author := author_of(entry)) is None else author for entry in given}

    def shows(self, query: Query) -> bool:
        """Return True if the task shows the query as it is asked now: without outlines or with them, marked or not.

        A task whose regions are still missing will show them.
        """
        wanted = {proposal.id for proposal in query.proposals if proposal.prefilled and not query.blind}
        if self.blind != query.blind or not self._ours():
            return self.blind == query.blind
        return wanted == {region["id"] for region in joined(self.prediction()["result"]) if is_prefilled(region)}

    def prediction(self) -> dict[str, Any]:
        """Return our latest prediction, from which experts start."""
        if not self._ours():
            raise AnnotationError(f"task {self.id} has no regions in Label Studio. Fix: delete the task there.")
        return max(self._ours(), key=lambda prediction: int(prediction["id"]))

    def _ours(self) -> list[dict[str, Any]]:
        return [entry for entry in self.predictions if entry.get("model_version") == MODEL_VERSION]


def author_of(annotation: dict[str, Any]) -> int | None:
    """Return the number of an annotation's account, None for a deleted one; Label Studio may give the whole record."""
    author: Any = annotation["completed_by"]
    number: int | None = author["id"] if isinstance(author, dict) else author
    return number


def tasks(
    manifest: Manifest, image_url: Callable[[Query], str], heat_url: Callable[[Query], str]
) -> list[dict[str, Any]]:
    """Return one task for each query, in the manifest's order, as JSON for an upload.

    ``image_url`` and ``heat_url`` return the addresses of a query's picture and of its saliency's picture.
    """
    # Experts get the tasks in the order of these numbers: the least certain query first.
    queries = manifest.keys()
    served = sorted(queries, key=lambda key: -queries[key].entropy)
    position = {key: f"{number} of {len(served)}" for number, key in enumerate(served, start=1)}
    outlines = {True: ", without outlines", False: ""}
    return [
        {
            "data": {
                "image": image_url(query),
                "heat": image_url(query) if query.blind else heat_url(query),
                "position": position[key] + outlines[query.blind],
                **({"blind": True} if query.blind else {}),
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
    """Write ``tasks.json`` with the pictures inside, for an import into any Label Studio by hand.

    The manifest's paths are relative to ``folder``. The pictures of the saliency are left out, because Label Studio
    shows them only from a URL.
    """
    embedded = tasks(manifest, lambda query: _data_uri(query, folder), lambda _: "")
    text = json.dumps(embedded, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def picture(query: Query, folder: Path) -> bytes:
    """Return the query's picture, checked against its digest, so that no answer belongs to another image."""
    path = folder / query.image
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != query.digest:
        raise AnnotationError(
            f"{path} is not the query's picture: its SHA-256 differs from the manifest's. Fix: run `dvc repro` to "
            "write it again."
        )
    return content


def heat(query: Query, folder: Path) -> bytes:
    """Return the picture of the query's saliency; the query must have one."""
    return _read(folder / query.heat)


def _read(path: Path) -> bytes:
    with naming_damage(path, kind="a picture", fix="run `dvc repro` to write it again"):
        return path.read_bytes()


def _data_uri(query: Query, folder: Path) -> str:
    kind = mimetypes.guess_type(query.image)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(picture(query, folder)).decode('ascii')}"


def _readable(probabilities: dict[str, float]) -> str:
    """The three most probable classes, as in "8: 61% · 3: 22% · 5: 9%"."""
    likeliest = sorted(probabilities.items(), key=lambda item: (-item[1], item[0]))[:3]
    return " · ".join(f"{name}: {probability:.0%}" for name, probability in likeliest)
