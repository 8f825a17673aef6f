"""Screening of a data set: each reading's AUC and shares, near-duplicates, and sentences for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data import labels as labels_of
from pipeline.data.prepared import Prepared, picture_of
from pipeline.screening import auc, duplicates, pictures
from pipeline.screening.attributes import reading
from pipeline.screening.readings import FEW, Reading, of_numbers

TOO_FEW = f"fewer than {FEW} patients, or two classes with {FEW} images each, among the training images with a value"
NO_FINDING = "no finding"
SHOWN = 20  # pairs of near-duplicates; their number counts all

Found = dict[str, Any]  # plain JSON


def screen(data: Prepared) -> Found:
    """Return the screening as plain JSON; the same data give the same result.

    Only training images count for readings and shares. Near-duplicates are looked for among all images. An image with
    findings counts as of one class: its rarest finding, or none.
    """
    properties, small = pictures.properties(data)
    train = (data.index["split"] == "train").to_numpy()
    index = data.index[train]
    readings: dict[str, Reading | str] = {
        **{f"`{name}`": reading(name, index[name], index["group"]) for name in data.attributes},
        **{name: of_numbers(name, values[train], pictures.LOOKS[name]) for name, values in properties.items()},
    }
    readings = readings if len(index) else {}
    strata = labels_of.strata(index["label"], findings=data.findings).replace("", NO_FINDING)
    classes = [*data.classes, NO_FINDING] if data.findings else data.classes
    labels = strata.map(classes.index).to_numpy(np.int64)
    patients = _patients(index["group"])
    compared: dict[str, tuple[Reading, auc.Auc]] = {}
    if len(np.unique(labels)) > 1:
        shuffles = auc.shuffled(labels, patients)
        for name, one in readings.items():
            if isinstance(one, Reading) and (found := _auc(one, labels, patients, shuffles)):
                compared[name] = one, found
    predicts = auc.predicting([found for _, found in compared.values()])
    rows = [
        _row(name, one, found, predicts=verdict, classes=classes, labels=labels)
        for (name, (one, found)), verdict in zip(compared.items(), predicts, strict=True)
    ]
    return {
        "dataset": data.folder.name,
        "digest": data.digest,
        "images": len(index),
        "classes": classes,
        "findings": data.findings,
        "few": [classes[n] for n in np.flatnonzero(np.bincount(labels, minlength=len(classes)) < FEW)],
        "patients": bool(len(index)) and bool(index["group"].notna().all()),
        "readings": sorted(rows, key=lambda row: -row["auc"]),
        "left_out": {
            name: one if isinstance(one, str) else TOO_FEW for name, one in readings.items() if name not in compared
        },
        "near_duplicates": _near(data, small),
    }


def _auc(
    one: Reading, labels: NDArray[np.int64], patients: NDArray[np.int64], shuffles: NDArray[np.int16]
) -> auc.Auc | None:
    """Return how well a reading predicts the classes with at least ten images; None if there is too little to read."""
    known = one.codes >= 0
    classes = np.flatnonzero(np.bincount(labels[known], minlength=1) >= FEW)
    if len(classes) < 2 or len(np.unique(patients[known])) < FEW:
        return None
    return auc.cross_validated(
        one.codes[known],
        labels[known],
        classes=classes,
        patients=np.unique(patients[known], return_inverse=True)[1],
        shuffles=shuffles[:, known],
    )


def _patients(groups: pd.Series) -> NDArray[np.int64]:
    """Return a number for each image, equal for images of one patient; an image without a patient is its own."""
    codes, known = pd.factorize(groups)
    return np.unique(np.where(codes >= 0, codes, len(known) + np.arange(len(codes))), return_inverse=True)[1]


def _row(
    name: str, one: Reading, found: auc.Auc, *, predicts: bool, classes: list[str], labels: NDArray[np.int64]
) -> Found:
    counts = np.zeros((len(one.values), len(classes)), int)
    np.add.at(counts, (one.codes[one.codes >= 0], labels[one.codes >= 0]), 1)
    interval = found.interval(predicts=predicts)
    return {
        "name": name,
        "how": one.how,
        "look": one.look,
        "auc": round(interval.value, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "predicts": predicts,
        "values": [
            {"value": value, "images": dict(zip(classes, row.tolist(), strict=True))}
            for value, row in zip(one.values, counts, strict=True)
            if row.sum()
        ],
    }


def _near(data: Prepared, small: NDArray[np.float32]) -> Found:
    index = data.index
    pairs, is_all = duplicates.pairs(small, index["id"].map(picture_of))
    ids, splits, labels = (index[column].to_numpy()[pairs] for column in ("id", "split", "label"))
    in_train = splits == "train"
    leaking, contradicting = in_train[:, 0] != in_train[:, 1], labels[:, 0] != labels[:, 1]
    shown = np.flatnonzero(leaking | contradicting)[:SHOWN]
    columns = ("ids", "splits", "labels")
    return {
        "pairs": len(pairs),
        "all": is_all,
        "train": int(in_train.all(axis=1).sum()),
        "train_and_held_out": int(leaking.sum()),
        "contradicting": int(contradicting.sum()),
        "shown": [
            {column: values[k].tolist() for column, values in zip(columns, (ids, splits, labels), strict=True)}
            for k in shown
        ],
    }
