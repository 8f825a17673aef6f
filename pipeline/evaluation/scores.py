"""Scores of an arm's final network on the images that it was not trained on (paper, section 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arms import results
from pipeline.choices import Method
from pipeline.config import Config, Explain
from pipeline.data import labels, subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.evaluation import attention, predictions
from pipeline.evaluation.score_files import Scores
from pipeline.feedback import masks
from pipeline.paths import step_dir
from pipeline.query.explanations import explain, targets
from pipeline.training import inference
from pipeline.training.metrics import by_attribute, by_class, classification, worst_group
from pipeline.training.states import State

PROBES = 6  # images

Areas = Mapping[str, NDArray[np.float32]]  # image id → W (S, S)


@dataclass(frozen=True)
class Evaluation:
    """The final network of one arm, evaluated.

    Attributes:
        scores: The metrics of the report, by name.
        predictions: The arm's two columns of `report/predictions/<scenario>.csv`.
        saliency: Signed saliency (B, S, S) on the probe images.
        probe_predictions: The predicted class of each probe image.
    """

    scores: Scores
    predictions: pd.DataFrame
    saliency: NDArray[np.float32]
    probe_predictions: list[str]


def evaluate_arm(
    state: State,
    *,
    arm: str,
    history: pd.DataFrame,
    data: Prepared,
    splits: dict[str, Images],
    probes: Images,
    disregarded: Areas,
    settings: Explain,
    external: dict[str, Prepared],
    about: Mapping[str, str] | None = None,
) -> Evaluation:
    """Return the scores, predictions and explanations of an arm's final network.

    Args:
        state: The arm's final state.
        arm: The arm's name.
        history: The arm's history, a row an epoch.
        data: The prepared data set.
        splits: The scenario's images by split.
        probes: The images that are explained for every arm.
        disregarded: The regions that experts disregarded, by image id.
        settings: How images are explained.
        external: The external test sets by split.
        about: The finding that experts disregarded regions for, by image id; nothing for classes.
    """
    outside = {split: subset.whole(other) for split, other in external.items()}
    logits = held_out_logits(state, splits)
    scores = results.summary(history, arm)
    scores |= class_and_group_scores(logits, data=data, splits=splits)
    for split, other in external.items():
        logits[split] = inference.logits(state, outside[split].pixels)
        readings = classification(logits[split], outside[split].labels)
        scores |= {f"{split}_{name}": value for name, value in readings}
        scores |= class_and_group_scores({split: logits[split]}, data=other, splits=outside)
    scores |= attention_scores(state, splits=splits, disregarded=disregarded, data=data, settings=settings, about=about)
    z = inference.logits(state, probes.pixels)
    target = targets(z, probes.labels, classes=data.classes, settings=settings)
    return Evaluation(
        scores=scores,
        predictions=predictions.columns(logits, arm=arm, splits=splits | outside, classes=data.classes),
        saliency=explain(state, probes.pixels[:], target=target, settings=settings),
        probe_predictions=_words(state.model.task.predicted(z), target, data),
    )


def _words(predicted: Tensor, target: Tensor, data: Prepared) -> list[str]:
    """Return the predictions as text; with findings, the explained one comes first."""
    texts = [labels.text(one, data.classes) for one in predicted]
    if not data.findings:
        return texts
    return [f"{data.classes[int(n)]}? {text or 'no finding'}" for n, text in zip(target, texts, strict=True)]


def probe_images(splits: dict[str, Images], seed: int) -> Images:
    """Return a few images, the same for the same seed: of test-shifted where it exists, else of test."""
    images = splits["test-shifted" if "test-shifted" in splits else "test"]
    some = torch.randperm(len(images.ids), generator=torch.Generator().manual_seed(seed))[:PROBES].tolist()
    return Images([images.ids[i] for i in some], images.pixels[some], images.labels[some])


def held_out_logits(state: State, splits: dict[str, Images]) -> dict[str, Tensor]:
    """Return a network's logits (N, C) on every split except train."""
    return {split: inference.logits(state, images.pixels) for split, images in splits.items() if split != "train"}


def class_and_group_scores(logits: dict[str, Tensor], *, data: Prepared, splits: dict[str, Images]) -> Scores:
    """Return each class's recall, the worst group's accuracy, and the accuracies by attribute and class.

    ``logits``: (N, C) of each split. A value that several attributes have, such as 1, is named with its attribute.
    """
    index = data.index.set_index("id")
    known = Counter(value for attribute in data.attributes for value in index[attribute].dropna().unique())
    for attribute in data.attributes:
        index[attribute] = [f"{attribute}-{value}" if known[value] > 1 else value for value in index[attribute]]
    groups = index["group"]
    scores: Scores = {}
    for split, z in logits.items():
        images = splits[split]
        members = [None if pd.isna(group) else int(group) for group in groups.loc[images.ids]]
        readings = [*by_class(z, images.labels, data.classes), *worst_group(z, images.labels, members)]
        for attribute in data.attributes:
            values = [None if pd.isna(value) else str(value) for value in index.loc[images.ids, attribute]]
            readings += by_attribute(z, images.labels, data.classes, attribute=attribute, values=values)
        scores |= {f"{split}_{name}": value for name, value in readings}
    return scores


def disregarded_areas(config: Config, scenario: str) -> tuple[Areas, dict[str, str]]:
    """Return the regions that experts disregarded in all rounds, and the finding of each, both by image id.

    Both are empty for a scenario without rounds. Classes have no findings.
    """
    if scenario not in config.hitl.scenarios:
        return {}, {}
    entries = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    return masks.marked(entries), masks.findings(entries)


def attention_scores(
    state: State,
    *,
    splits: dict[str, Images],
    disregarded: Areas,
    data: Prepared,
    settings: Explain,
    methods: tuple[Method, ...] = attention.QUICK,
    about: Mapping[str, str] | None = None,
) -> Scores:
    """Return how much a network looks at disregarded regions and, where evidence is known, at the evidence.

    Args:
        state: The network.
        splits: The scenario's images by split.
        disregarded: The regions of training images that experts disregarded, by image id.
        data: The prepared data set. Its evidence is read on test images, or on val images if test has none.
        settings: How images are explained.
        methods: The explainers.
        about: The finding that experts disregarded regions for, by image id; nothing for classes.
    """
    known = set(data.index.loc[data.index["evidence"].notna(), "id"])
    held_out = next((splits[s] for s in ("test", "val") if known & set(splits[s].ids)), splits["val"])
    some = [image_id for image_id in held_out.ids if image_id in known][: attention.LOOKED_AT]
    evidence = {image_id: data.evidence(image_id) for image_id in some}
    explained = partial(attention.measure, state, settings=settings, methods=methods)
    on_marks = explained(images=splits["train"], areas=disregarded, name="marked", about=about)
    return on_marks | explained(images=held_out, areas=evidence, name="evidence")
