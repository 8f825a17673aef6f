"""The attention before and after a round: shares worked out by hand, pictures, and the text for experts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from fakes.queries import SIDE, manifest
from PIL import Image, ImageColor

from labelstudio.exchange.effects import Effect
from pipeline.data.loading import Images
from pipeline.evaluation import before_after, figures
from pipeline.feedback import masks


def test_every_marked_image_is_shown_before_and_after(tmp_path):
    rng = np.random.default_rng(0)
    images = Images(["a", "b"], rng.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8), torch.zeros(2))
    mask = np.zeros((16, 16), np.float32)
    mask[:, :4] = 1
    entry = masks.Entry.of("00", "b", mask, mask > 0)
    before, after = {"b": np.ones((16, 16), np.float32)}, {"b": (1 - mask)}
    for folder in ("effect", "again"):
        (found,) = before_after.draw(
            images=images, entries=[entry], before=before, after=after, folder=tmp_path / folder
        )
        assert found == Effect("b", f"{folder}/b.png", before=0.25, after=0.0)
    assert (tmp_path / "effect" / "b.png").read_bytes() == (tmp_path / "again" / "b.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "effect" / "b.png"))
    top, left, side = picture.shape[0] - figures.LARGE - figures.GAP, figures.GAP, figures.LARGE
    marks = np.arange(side)[None] < np.full((side, 1), side // 4)
    marks[2:-2, 2 : side // 4 - 2] = False
    for x in (left + panel * (side + figures.GAP) for panel in range(3)):
        red = (picture[top : top + side, x : x + side] == ImageColor.getrgb(figures.MARKED)).all(axis=2)
        np.testing.assert_array_equal(red, marks, "outlined on all sides")
    assert before_after.draw(images=images, entries=[], before={}, after={}, folder=tmp_path / "none") == []
    assert (tmp_path / "none").is_dir()


def test_an_effect_outlines_the_evidence_and_counts_the_attention_outside(tmp_path):
    images = Images(["b"], np.zeros((1, 16, 16, 3), np.uint8), torch.zeros(1))
    mask = np.ones((16, 16), np.float32)
    mask[:, :4] = 0
    entry = masks.Entry.of("00", "b", mask, mask >= 0, kind="evidence")
    maps = {"b": np.ones((16, 16), np.float32)}
    (found,) = before_after.draw(images=images, entries=[entry], before=maps, after=maps, folder=tmp_path / "effect")
    assert (found.before, found.after) == (0.75, 0.75)
    picture = np.asarray(Image.open(tmp_path / "effect" / "b.png"))
    green = (picture == ImageColor.getrgb(figures.EVIDENCE)).all(axis=2).any(axis=0)
    assert green[figures.GAP : figures.GAP + figures.LARGE // 4].all()
    assert not green[figures.GAP + figures.LARGE // 4 : figures.GAP + figures.LARGE].any()


def test_attention_is_for_the_class_that_was_predicted_then(tmp_path, monkeypatch):
    asked = manifest(tmp_path, 20)  # more than are explained at once; the prediction is "3"
    images = Images([q.image_id for q in asked.queries][::-1], np.zeros((20, SIDE, SIDE, 3), np.uint8), torch.zeros(20))
    images.pixels[:, 0, 0, 0] = np.arange(20)
    entries = [masks.Entry("00", q.image_id, b"", b"") for q in asked.queries]
    targets = []

    def explained(state, pixels, target, settings):
        targets.extend(target.tolist())
        return pixels[..., 0].astype(np.float32)

    model = SimpleNamespace(classes=["1", "3", "8"])
    state = SimpleNamespace(model=model, accelerator=None)
    monkeypatch.setattr(before_after, "explain", explained)
    found = before_after.attention(state, images=images, entries=entries, manifest=asked, settings=None)
    assert targets == [1] * 20
    assert {image_id: int(heat[0, 0]) for image_id, heat in found.items()} == {
        image_id: n for n, image_id in enumerate(images.ids)
    }


def test_only_images_that_were_marked_in_this_round_are_compared(tmp_path, monkeypatch):
    asked = manifest(tmp_path, 3)
    ids = [query.image_id for query in asked.queries]
    images = Images(ids, np.zeros((3, SIDE, SIDE, 3), np.uint8), torch.zeros(3))
    marks, nothing = np.ones((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    entries = [
        masks.Entry.of("earlier", ids[0], marks, marks > 0),
        masks.Entry.of(asked.round, ids[1], nothing, marks > 0),
        masks.Entry.of(asked.round, ids[2], marks, marks > 0),
    ]
    explained = []

    def explain(state, pixels, target, settings):
        explained.append(state)
        return np.ones((len(pixels), SIDE, SIDE), np.float32)

    before, after = (SimpleNamespace(model=SimpleNamespace(classes=["1", "3", "8"])) for _ in range(2))
    monkeypatch.setattr(before_after, "explain", explain)
    found = before_after.compare(
        before=before,
        after=after,
        images=images,
        entries=entries,
        manifest=asked,
        settings=None,
        folder=tmp_path / "effect",
    )
    assert found == [Effect(ids[2], f"effect/{ids[2]}.png", before=1.0, after=1.0)]
    assert explained == [before, after]
