"""Effects of the marks: their file, their pictures as queries, and their text for experts."""

from __future__ import annotations

import pytest
from fakes.queries import SIDE
from fakes.queries import manifest as pictures

from labelstudio.exchange.effects import Effect, manifest, read, words, write
from labelstudio.exchange.records import AnnotationError


def test_effects_survive_the_disk(tmp_path):
    path = tmp_path / "effect.json"
    effects = [Effect("a", "effect/a.png", 0.5, 0.25)]
    write(path, effects)
    assert read(path) == effects
    path.write_text('[{"image_id": "a"}]')
    with pytest.raises(AnnotationError, match=r"effect\.json is not a list of effects.*Fix: run `dvc repro`"):
        read(path)
    with pytest.raises(AnnotationError, match=r"cannot read .*nowhere\.json"):
        read(tmp_path / "nowhere.json")


def test_the_pictures_are_queries_without_proposals(tmp_path):
    picture = pictures(tmp_path, 1).queries[0]
    effect = Effect("a", picture.image, before=0.5, after=0.256)
    asked = manifest([effect], scenario="digits", round="01", folder=tmp_path)
    (query,) = asked.queries
    assert (asked.scenario, asked.round, query.image_id) == ("digits", "01", "a")
    assert (query.image, query.digest) == (picture.image, picture.digest)
    assert (query.width, query.height, query.proposals) == (SIDE, SIDE, ())
    assert (query.label, query.prediction) == ("50%", "26%")


def test_the_rounds_in_words():
    rounds = {
        "00": [Effect("a", "a.png", 0.5, 0.2), Effect("b", "b.png", 0.3, 0.0)],
        "01": [],
        "02": [Effect("c", "c.png", 0.25, 0.3)],
    }
    lines = words(rounds).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("Round 00: experts marked regions on 2 images.")
    assert "40% of its attention lay on what must not matter; afterwards, 10%." in lines[1]
    assert lines[2].startswith("Round 02: experts marked regions on 1 image.")
    assert words({"00": []}) == words({}) == ""
