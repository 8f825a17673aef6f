"""query-export: which images the strategy picks, and what the network looked at on them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from labelstudio.exchange.records import Manifest, Query
from labelstudio.exchange.tasks import write_tasks
from pipeline.config import QuerySettings, load
from pipeline.data import prepared, subset
from pipeline.data.loading import Images
from pipeline.errors import ConfigError
from pipeline.feedback import masks
from pipeline.paths import prepared_dir, step_dir, subset_file
from pipeline.query import sampling
from pipeline.query.explanations import explain, targets
from pipeline.query.proposals import outlined, propose
from pipeline.training import trainer
from pipeline.training.trainer import State

EXPLAINED_AT_ONCE = 4  # images; a CPU is no faster with more
HEAT_SIDE = 160  # pixels, the width of its panel
HEAT_COLOUR = (230, 30, 20)


def main(scenario: str, round: str, after: str, queries: str) -> None:
    """Write queries.json, the pictures, and a tasks.json for importing by hand."""
    config = load()
    settings = config.scenario(scenario)
    data = prepared.read(prepared_dir(settings.dataset))
    pool = subset.images(data, subset.read(subset_file(scenario), data), "train")
    if int(queries) > len(pool.ids):
        raise ConfigError(
            f"round {round} asks {queries} queries, but {scenario} has only {len(pool.ids)} training images; "
            "lower `queries` of that round under `hitl.rounds` in params.yaml"
        )
    state = trainer.restore(step_dir(scenario, after) / "state.pt", settings.train)
    entries = masks.read(step_dir(scenario, after) / "masks.npz")

    folder = step_dir(scenario, round)
    manifest = export(state, pool, entries, scenario, round, int(queries), settings.query, config.seed, folder)
    if not state.accelerator.is_main_process:
        return
    manifest.write(folder / "queries.json")
    write_tasks(manifest, folder, folder / "tasks.json")
    found = len(manifest.queries)
    print(f"{scenario}, round {round}: {found} of {len(pool.ids)} images to ask about, in {folder}")
    if found < int(queries):
        print(f"{int(queries) - found} fewer than wanted: on all others, experts have seen most such regions")


def export(
    state: State,
    pool: Images,
    entries: list[masks.Entry],
    scenario: str,
    round: str,
    count: int,
    settings: QuerySettings,
    seed: int,
    folder: Path,
) -> Manifest:
    """A round's queries, given the entries of earlier rounds; their pictures are written to ``folder``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    seed = 100 * seed + int(round)  # another one in every round
    found = choose(state, pool, masks.asked(entries), count, settings, seed, folder)
    marked = masks.in_force(entries)
    found = [replace(q, earlier=outlined(marked[q.image_id] > 0.5)) if q.image_id in marked else q for q in found]
    return Manifest(scenario, round, tuple(found))


def choose(
    state: State,
    pool: Images,
    asked: Mapping[str, NDArray[np.bool_]],
    count: int,
    settings: QuerySettings,
    seed: int,
    folder: Path,
) -> list[Query]:
    """Up to ``count`` queries, in the strategy's order, none with a region that experts have judged before.

    An image that was asked about comes back only if at least half of its proposals are new, and
    then with these alone: experts' time goes to images on which there is something new to say.
    """
    logits = trainer.logits(state, pool.pixels)
    uncertainty = sampling.entropy(logits)
    order = sampling.top(sampling.scores(settings.strategy, logits, pool.labels, seed), len(pool.ids))
    target = targets(settings.explain, state.model.classes, logits, pool.labels)
    found: list[Query] = []
    at_once = EXPLAINED_AT_ONCE * state.accelerator.num_processes
    for start in range(0, len(order), at_once):
        some = order[start : start + at_once]
        saliency = explain(state, pool.pixels[some], target[some], settings.explain)
        for position, heat in zip(some, saliency, strict=True):
            image_id = pool.ids[position]
            pixels = pool.pixels[position]
            wanted = (heat, pixels, settings.regions, settings.rank, settings.cell, settings.proposals)
            regions = propose(*wanted, asked.get(image_id))
            if image_id in asked and 2 * len(regions) < max(len(propose(*wanted)), 1):
                continue  # an image comes back when what the network looks at there has changed, not for a region
            image = f"images/{image_id}.png"
            png = _png(pixels)
            heat_image = f"images/{image_id}.heat.png"
            if state.accelerator.is_main_process:
                (folder / image).write_bytes(png)
                (folder / heat_image).write_bytes(_png(overlaid(pixels, heat, settings.rank)))
            probabilities = torch.softmax(logits[position].double(), dim=0)
            classes = state.model.classes
            found.append(
                Query(
                    image_id=image_id,
                    image=image,
                    digest=hashlib.sha256(png).hexdigest(),
                    width=pixels.shape[1],
                    height=pixels.shape[0],
                    label=classes[int(pool.labels[position])],
                    prediction=classes[int(probabilities.argmax())],
                    probabilities={c: round(float(p), 4) for c, p in zip(classes, probabilities, strict=True)},
                    entropy=round(float(uncertainty[position]), 4),
                    proposals=regions,
                    heat=heat_image,
                )
            )
            if len(found) == count:
                return found
    return found


def overlaid(pixels: NDArray[np.uint8], saliency: NDArray[np.floating], rank: str) -> NDArray[np.uint8]:
    """The picture (S, S, 3) in grey with its saliency (S, S) over it in red, blurred as far as an eye needs.

    A small picture of ``HEAT_SIDE`` pixels, for the panel that an expert may open beside the image.
    """
    weight = np.abs(saliency) if rank == "absolute" else np.maximum(saliency, 0)
    weight = ndimage.gaussian_filter(weight.astype(np.float64), sigma=len(weight) / 48)
    alpha = 0.85 * weight[..., None] / max(float(weight.max()), np.finfo(np.float64).tiny)
    grey = pixels.mean(axis=2, keepdims=True)
    mixed = (1 - alpha) * grey + alpha * np.array(HEAT_COLOUR)
    return np.asarray(Image.fromarray(mixed.astype(np.uint8)).resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BILINEAR))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
