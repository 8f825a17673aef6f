"""What is shown back to experts: numbers worked by hand, pictures, words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes.queries import SIDE, manifest
from PIL import Image, ImageColor

from labelstudio.exchange.before_after import Effect, read, words, write
from labelstudio.exchange.records import AnnotationError
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
        (found,) = before_after.show(images, [entry], before, after, tmp_path / folder)
        assert found == Effect("b", f"{folder}/b.png", before=0.25, after=0.0)
    assert (tmp_path / "effect" / "b.png").read_bytes() == (tmp_path / "again" / "b.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "effect" / "b.png"))
    top, left, side = picture.shape[0] - figures.LARGE - figures.GAP, figures.GAP, figures.LARGE
    marks = np.arange(side)[None] < np.full((side, 1), side // 4)
    marks[2:-2, 2 : side // 4 - 2] = False
    for x in (left + panel * (side + figures.GAP) for panel in range(3)):
        red = (picture[top : top + side, x : x + side] == ImageColor.getrgb(figures.MARKED)).all(axis=2)
        np.testing.assert_array_equal(red, marks, "outlined on all sides")
    assert before_after.show(images, [], {}, {}, tmp_path / "none") == []
    assert (tmp_path / "none").is_dir()
    write(tmp_path / "effect.json", [found])
    assert read(tmp_path / "effect.json") == [found]
    with pytest.raises(AnnotationError, match="dvc repro"):
        read(tmp_path / "nowhere.json")


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
    found = before_after.attention(state, images, entries, asked, settings=None)
    assert targets == [1] * 20
    assert {image_id: int(heat[0, 0]) for image_id, heat in found.items()} == {
        image_id: n for n, image_id in enumerate(images.ids)
    }


def test_the_rounds_in_words():
    rounds = {
        "00": [Effect("a", "a.png", 0.5, 0.2), Effect("b", "b.png", 0.3, 0.0)],
        "01": [],
        "02": [Effect("c", "c.png", 0.25, 0.3)],
    }
    lines = words(rounds).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("Round 00: experts marked something on 2 images.")
    assert "40% lay inside the marks; after it had learned from them, 10%." in lines[1]
    assert lines[2].startswith("Round 02: experts marked something on 1 image.")
    assert words({"00": []}) == words({}) == ""
