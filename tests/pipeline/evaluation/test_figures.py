"""The figures for people: what they show, and that they are the same bytes each time."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from fakes.queries import SIDE, manifest
from PIL import Image, ImageColor

from labelstudio.exchange.records import Manifest
from pipeline.data.loading import Images
from pipeline.evaluation import figures
from pipeline.feedback import masks


def test_a_figure_of_many_queries_is_not_too_large_for_mlflow(tmp_path):
    some = manifest(tmp_path, 1)
    asked = dataclasses.replace(some, queries=some.queries * 2 * figures.MOST)
    assert figures.queries(asked, tmp_path, []).height <= 16_383, "WebP, in which MLflow keeps a copy, ends there"


def test_a_round_without_queries_has_its_figure(tmp_path):
    figures.save(figures.queries(Manifest("digits", "03", ()), tmp_path, []), tmp_path / "asked.png")
    assert Image.open(tmp_path / "asked.png").convert("L").getextrema()[0] == 0, "its head is written there"


def test_a_figure_of_queries_crosses_out_what_was_marked(tmp_path):
    asked = manifest(tmp_path, 2)
    query = asked.queries[0]
    mask = np.zeros((SIDE, SIDE), bool)
    p = query.proposals[0]
    mask[p.y : p.y + p.height, p.x : p.x + p.width] = True
    drawn = {}
    for name, entries in (("marked", [masks.Entry.of("00", query.image_id, mask, mask)]), ("unmarked", [])):
        figures.save(figures.queries(asked, tmp_path, entries), tmp_path / f"{name}.png")
        drawn[name] = (tmp_path / f"{name}.png").read_bytes()
    red = ImageColor.getrgb(figures.MARKED)
    area = round(figures.SIDE**2 * p.width * p.height / SIDE**2)
    crossed, plain = (int((np.asarray(Image.open(tmp_path / f"{n}.png")) == red).all(axis=2).sum()) for n in drawn)
    assert 0.2 * area < crossed < area
    assert plain == 0
    figures.save(figures.queries(asked, tmp_path, []), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn["unmarked"]


def test_a_figure_of_queries_outlines_the_evidence_and_crosses_out_the_rest(tmp_path):
    asked = manifest(tmp_path, 1)
    evidence = np.zeros((SIDE, SIDE), bool)
    evidence[24:72, 24:72] = True
    entry = masks.Entry.of("00", asked.queries[0].image_id, ~evidence, np.ones_like(evidence), kind="evidence")
    page = np.asarray(figures.queries(asked, tmp_path, [entry]))
    panel = page[-figures.GAP - figures.SIDE : -figures.GAP, figures.GAP : figures.GAP + figures.SIDE]
    green, red = ((panel == ImageColor.getrgb(colour)).all(axis=2) for colour in (figures.EVIDENCE, figures.MARKED))
    inside = slice(figures.SIDE // 4 + 4, 3 * figures.SIDE // 4 - 4)
    assert green.sum() == pytest.approx(4 * 2 * figures.SIDE / 2, rel=0.1), "two pixels wide"
    assert not green[inside, inside].any()
    assert red.sum() > 0.15 * 0.75 * figures.SIDE**2
    assert not red[inside, inside].any()


def test_curves_are_the_same_bytes_each_time(tmp_path):
    columns = {f"{split}_{metric}": [0.5, 0.7] for split in ("train", "val") for metric in ("accuracy", "loss")}
    history = pd.DataFrame({"step": ["start", "00"], "epoch": [1, 2], **columns})
    for name in ("curves", "again"):
        figures.save(figures.curves({"baseline": history[:1], "hitl": history}, "digits"), tmp_path / f"{name}.png")
    assert (tmp_path / "curves.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_explanations_have_a_row_an_image_and_a_panel_an_arm():
    images = Images(["a", "b"], np.zeros((2, 8, 8, 3), np.uint8), torch.tensor([0, 1]))
    saliency = {arm: (np.ones((2, 8, 8), np.float32), ["no", "no"]) for arm in ("baseline", "hitl")}
    page = figures.explanations(images, ["no", "yes"], saliency)
    assert page.width == figures.GAP + 3 * (figures.SIDE + figures.GAP)
    assert page.height > 2 * figures.SIDE
