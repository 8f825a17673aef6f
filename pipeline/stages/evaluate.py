"""evaluate: what each arm of a scenario came to, image by image, and what its network looks at."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arms import results
from pipeline.config import Config, Explain, load
from pipeline.data import prepared, subset
from pipeline.data.loading import Images
from pipeline.data.prepared import Prepared
from pipeline.evaluation import attention, figures, predictions
from pipeline.feedback import masks
from pipeline.paths import (
    curves_file,
    explanations_file,
    predictions_file,
    prepared_dir,
    scores_file,
    step_dir,
    subset_file,
)
from pipeline.query.explanations import explain, targets
from pipeline.training import trainer
from pipeline.training.metrics import by_class, worst_group
from pipeline.training.trainer import State

PROBES = 6  # images explained by every arm's final network: always the same ones


def main(scenario: str) -> None:
    """Write the scenario's scores, predictions, curves and explanations under report/."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    splits = subset.by_split(data, subset.read(subset_file(scenario), data))
    probes = probe_images(splits["test-shifted" if "test-shifted" in splits else "test"], config.seed)
    marked = asked_about(config, scenario)
    histories, scores, saliency = {}, {}, {}
    said = [predictions.images(splits, data.classes)]
    for arm in results.arms(config, scenario):
        folder = results.final_dir(config, scenario, arm)
        histories[arm] = results.history(folder)
        state = trainer.restore(folder / "state.pt", settings.train)
        read = readings(state, splits)
        scores[arm] = results.summary(histories[arm], arm) | in_detail(read, data, splits)
        scores[arm] |= looks(state, splits, marked, data, settings.query.explain)
        said.append(predictions.of(read, arm, splits, data.classes))
        z = trainer.logits(state, probes.pixels)
        target = targets(settings.query.explain, data.classes, z, probes.labels)
        maps = explain(state, probes.pixels[:], target, settings.query.explain)
        saliency[arm] = (maps, [data.classes[int(c)] for c in z.argmax(dim=1)])

    if not state.accelerator.is_main_process:
        return
    predictions.write(predictions_file(scenario), pd.concat(said, axis=1))
    titles = [f"{i}: {data.classes[int(label)]}" for i, label in zip(probes.ids, probes.labels, strict=True)]
    figures.save(figures.explanations(probes.pixels[:], titles, saliency), explanations_file(scenario))
    figures.save(figures.curves(histories, scenario), curves_file(scenario))
    long = pd.concat([history.assign(arm=arm) for arm, history in histories.items()])
    long.to_csv(curves_file(scenario).with_suffix(".csv"), index=False)
    scores_file(scenario).parent.mkdir(parents=True, exist_ok=True)
    scores_file(scenario).write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


def probe_images(images: Images, seed: int) -> Images:
    """A few images, always the same ones."""
    some = torch.randperm(len(images.ids), generator=torch.Generator().manual_seed(seed))[:PROBES].tolist()
    return Images([images.ids[i] for i in some], images.pixels[some], images.labels[some])


def readings(state: State, splits: dict[str, Images]) -> dict[str, Tensor]:
    """A network's logits (N, C) of every split but train."""
    return {split: trainer.logits(state, images.pixels) for split, images in splits.items() if split != "train"}


def in_detail(read: dict[str, Tensor], data: Prepared, splits: dict[str, Images]) -> dict[str, float]:
    """Recall of each class, and the worst group's accuracy, from what ``readings`` found."""
    groups = data.index.set_index("id")["group"]
    found: dict[str, float] = {}
    for split, z in read.items():
        images = splits[split]
        members = [None if pd.isna(group) else int(group) for group in groups.loc[images.ids]]
        readings = [*by_class(z, images.labels, data.classes), *worst_group(z, images.labels, members)]
        found |= {f"{split}_{name}": value for name, value in readings}
    return found


def asked_about(config: Config, scenario: str) -> Mapping[str, NDArray[np.float32]]:
    """All that experts disregarded, W by image id: the same for every arm; nothing where nobody was asked."""
    if scenario not in config.hitl.scenarios:
        return {}
    return masks.in_force(masks.read(step_dir(scenario, config.hitl.last) / "masks.npz"))


def looks(
    state: State,
    splits: dict[str, Images],
    marked: Mapping[str, NDArray[np.float32]],
    data: Prepared,
    settings: Explain,
    methods: tuple[attention.Method, ...] = attention.QUICK,
) -> dict[str, float]:
    """Where a network looks on the images that experts marked, and, where it is known, on the evidence.

    The evidence is that of the test images or, if they have none, of the validation images.
    """
    known = set(data.index.loc[data.index["evidence"].notna(), "id"])
    held_out = next((splits[s] for s in ("test", "val") if known & set(splits[s].ids)), splits["val"])
    some = [image_id for image_id in held_out.ids if image_id in known][: attention.LOOKED_AT]
    evidence = {image_id: data.evidence(image_id) for image_id in some}
    on_marks = attention.measure(state, splits["train"], marked, "marked", settings, methods)
    return on_marks | attention.measure(state, held_out, evidence, "evidence", settings, methods)
