"""A round's queries: the images that the strategy picks, with the regions that experts judge (paper, section 3.2)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from labelstudio.exchange import geometry
from labelstudio.exchange.records import Manifest, Proposal, Query
from pipeline.choices import Rank, assert_known
from pipeline.config import QuerySettings, Scenario
from pipeline.data import labels
from pipeline.data.loading import Images
from pipeline.feedback import masks, spreading
from pipeline.query import sampling
from pipeline.query.explanations import explain, targets
from pipeline.query.proposals import outlined, propose
from pipeline.training import inference
from pipeline.training.states import State

EXPLAINED_AT_ONCE = 4  # images; a CPU is no faster with more
HEAT_SIDE = 160  # pixels, the width of its panel
HEAT_COLOUR = (230, 30, 20)


def select(
    state: State,
    pool: Images,
    *,
    entries: list[masks.Entry],
    scenario: str,
    round: str,
    count: int,
    settings: Scenario,
    seed: int,
    folder: Path,
) -> Manifest:
    """Select a round's queries and write their pictures.

    Args:
        state: The network in training.
        pool: The training images to select from.
        entries: The masks of all earlier rounds.
        scenario: The scenario's name.
        round: The round's number, two digits.
        count: The number of queries wanted.
        settings: The scenario's settings.
        seed: The run's seed; each round draws with a seed of its own.
        folder: Where the pictures are written.

    Returns:
        Up to ``count`` queries, in the strategy's order. A query also shows the regions that earlier
        rounds marked on its image. With `query.prefill`, the proposals that the answers so far speak against come
        marked.

    Raises:
        ConfigError: The class to explain is not one of the data set's.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    doubt, spreader = None, None
    if settings.query.strategy == "spread-entropy" or settings.query.prefill:
        spreader = spreading.from_answers(entries, pool, settings, state.model.classes)
    if spreader and settings.query.strategy == "spread-entropy":
        doubt = spreader.doubt(pool)
        if doubt is None:
            why = spreader.skill.problem
            print(f"{scenario}, round {round}: `spread-entropy` is entropy here: no spreader yet ({why})", flush=True)
    found = choose(
        state,
        pool,
        asked=masks.asked(entries),
        doubt=doubt,
        count=count,
        settings=settings.query,
        seed=100 * seed + int(round),
        folder=folder,
    )
    marked = masks.marked(entries)
    found = [replace(q, earlier=outlined(marked[q.image_id] > 0.5)) if q.image_id in marked else q for q in found]
    if spreader and settings.query.prefill:
        believed = spreader.believed(pool, [query.image_id for query in found])
        found = [_prefilled(query, believed.get(query.image_id)) for query in found]
    return Manifest(scenario, round, tuple(found))


def _prefilled(query: Query, believed: NDArray[np.bool_] | None) -> Query:
    """Return the query with a mark on each proposal of which more than half is believed not to matter."""
    if believed is None:
        return query
    shown = ((p, believed[geometry.pixels(p, query.width, query.height)].mean() > 0.5) for p in query.proposals)
    return replace(query, proposals=tuple(replace(p, prefilled=bool(marked)) for p, marked in shown))


def choose(
    state: State,
    pool: Images,
    *,
    asked: Mapping[str, NDArray[np.bool_]],
    doubt: NDArray[np.float64] | None = None,
    count: int,
    settings: QuerySettings,
    seed: int,
    folder: Path,
) -> list[Query]:
    """Choose up to ``count`` queries; no query repeats a region that experts have judged.

    An image of an earlier round returns only if at least half of its proposals are new. The query
    then holds the new proposals alone, so that experts spend no time on regions that they know.
    Copies of a picture are one picture: a round asks about one of them. With several findings, no image returns: its
    one mask belongs to the finding that the first query was about.

    Args:
        state: The network in training.
        pool: The images to choose from.
        asked: By image id, the pixels (S, S) that experts have judged.
        doubt: How unsure the spreader is about each image (N,), for the strategy `spread-entropy`.
        count: The number of queries wanted.
        settings: The section `query` of the scenario.
        seed: The seed of the strategy `random`, and of regions drawn at random.
        folder: Where the pictures are written, in the folder ``images``.

    Returns:
        The queries, in the strategy's order.

    Raises:
        ConfigError: The class to explain is not one of the data set's.
        IncompleteError: DeepLIFT's explanations miss more of the outputs than `query.explain.limit`.
    """
    logits, task = inference.logits(state, pool.pixels), state.model.task
    entropy, likely = sampling.entropy(logits, task), task.probabilities(logits.double())
    scores = sampling.scores(logits, pool.labels, strategy=settings.strategy, seed=seed, doubt=doubt)
    order = sampling.top(scores, len(pool.ids))
    classes = state.model.classes
    target = targets(logits, pool.labels, classes=classes, settings=settings.explain)
    queries: list[Query] = []
    shown: set[bytes] = set()  # digests of the pictures of this round
    known = _known(pool, asked)
    once = task.findings and len(classes) > 1
    at_once = EXPLAINED_AT_ONCE * state.accelerator.num_processes
    for start in range(0, len(order), at_once):
        positions = order[start : start + at_once]
        saliency = explain(
            state, pool.pixels[positions], target=target[positions], settings=settings.explain, limited=True
        )
        for position, heat in zip(positions, saliency, strict=True):
            image_id, pixels = pool.ids[position], pool.pixels[position]
            digest = _digest(pixels)
            if digest in shown or (once and digest in known):
                continue
            proposals = _new_proposals(heat, pixels, settings=settings, asked=known.get(digest), seed=seed)
            if proposals is None:
                continue
            shown.add(digest)
            picture, finding = png(pixels), classes[int(target[position])] if task.findings else ""
            label, prediction = labels.text(pool.labels[position], classes), classes[int(likely[position].argmax())]
            if finding:
                label, prediction = _words(finding, label, float(likely[position, target[position]]))
            query = Query(
                image_id=image_id,
                image=f"images/{image_id}.png",
                digest=hashlib.sha256(picture).hexdigest(),
                width=pixels.shape[1],
                height=pixels.shape[0],
                label=label,
                prediction=prediction,
                probabilities={c: round(float(p), 4) for c, p in zip(classes, likely[position], strict=True)},
                entropy=round(float(entropy[position]), 4),
                proposals=proposals,
                heat=f"images/{image_id}.heat.png",
                finding=finding,
            )
            if state.accelerator.is_main_process:
                (folder / query.image).write_bytes(picture)
                (folder / query.heat).write_bytes(png(overlaid(pixels, heat, settings.rank)))
            queries.append(query)
            if len(queries) == count:
                return queries
    return queries


def _words(finding: str, label: str, probability: float) -> tuple[str, str]:
    """Return the truth and the prediction of one finding, as experts read them."""
    there = labels.named(label)
    others = [name for name in there if name != finding]
    truth = f"{finding} is {'there' if finding in there else 'not there'}"
    also = f"; also {', '.join(others)}" if others else ""
    return f"{truth}{also}", f"is {finding} there? p = {probability:.2f}"


def overlaid(pixels: NDArray[np.uint8], saliency: NDArray[np.floating], rank: Rank) -> NDArray[np.uint8]:
    """Return the picture (S, S, 3) in grey under its saliency (S, S) in red, blurred enough for the eye.

    The result has ``HEAT_SIDE`` pixels a side, for the panel that an expert may open beside the image. An
    unknown rank is a ValueError.
    """
    assert_known(rank, Rank, "rank")
    weight = np.abs(saliency) if rank == "absolute" else np.maximum(saliency, 0)
    weight = ndimage.gaussian_filter(weight.astype(np.float64), sigma=len(weight) / 48)
    alpha = 0.85 * weight[..., None] / max(float(weight.max()), np.finfo(np.float64).tiny)
    grey = pixels.mean(axis=2, keepdims=True)
    mixed = (1 - alpha) * grey + alpha * np.array(HEAT_COLOUR)
    return np.asarray(Image.fromarray(mixed.astype(np.uint8)).resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BILINEAR))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture (S, S, 3) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _known(pool: Images, asked: Mapping[str, NDArray[np.bool_]]) -> dict[bytes, NDArray[np.bool_]]:
    """Return the pixels (S, S) that experts have judged, by digest of the picture: on it, or on a copy of it."""
    known: dict[bytes, NDArray[np.bool_]] = {}
    for position, image_id in enumerate(pool.ids):
        if image_id in asked:
            digest = _digest(pool.pixels[position])
            known[digest] = asked[image_id] | known[digest] if digest in known else asked[image_id]
    return known


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(pixels.tobytes()).digest()


def _new_proposals(
    saliency: NDArray[np.floating],
    pixels: NDArray[np.uint8],
    *,
    settings: QuerySettings,
    asked: NDArray[np.bool_] | None,
    seed: int,
) -> tuple[Proposal, ...] | None:
    """Return an image's proposals without those already judged; None if less than half of them are new."""

    def proposals(asked: NDArray[np.bool_] | None) -> tuple[Proposal, ...]:
        return propose(
            saliency,
            pixels,
            kind=settings.regions,
            rank=settings.rank,
            cell=settings.cell,
            count=settings.proposals,
            asked=asked,
            at_random=round(settings.random_share * settings.proposals),
            seed=seed,
        )

    new = proposals(asked)
    if asked is not None and 2 * len(new) < max(len(proposals(None)), 1):
        return None
    return new
