"""Queries and answers: their files, and the keys of queries."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fakes.queries import POLYGON, manifest, proposal

from labelstudio.exchange.records import AnnotationError, Answer, Manifest, Proposal, Query, read_answers, write_answers


@pytest.fixture
def asked(tmp_path):
    return manifest(tmp_path, 3)


@pytest.mark.parametrize("more", [(), (POLYGON,)])
def test_a_manifest_survives_the_disk_byte_for_byte(more, tmp_path):
    asked = manifest(tmp_path, 3, more=more)
    path = tmp_path / "queries.json"
    asked.write(path)
    assert Manifest.read(path) == asked
    again = tmp_path / "again.json"
    Manifest.read(path).write(again)
    assert again.read_bytes() == path.read_bytes()
    assert [entry["key"] for entry in json.loads(path.read_text())["queries"]] == list(asked.keys())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "line 1 is not JSON"),
        ('{\n"scenario": }', "line 2 is not JSON"),
        ("[]", "an entry has missing, unknown or damaged fields"),
        ("{}", "an entry has missing"),
        ('{"scenario": "a", "round": "00", "queries": [7]}', "an entry has missing"),
        ('{"scenario": "a", "round": "00", "queries": [{"key": 1}]}', "an entry has missing"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_cause(tmp_path, text, cause):
    path = tmp_path / "queries.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=rf"queries\.json is not a manifest.*: {cause}.*\. Fix: run `dvc repro`"):
        Manifest.read(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"cannot read .*queries\.json: No such file.*Fix: run `dvc repro`"):
        Manifest.read(tmp_path / "queries.json")


def test_the_key_is_the_question_and_not_how_sure_the_model_was(asked):
    query = asked.queries[0]
    same = dataclasses.replace(
        query,
        entropy=0.1,
        prediction="5",
        image="elsewhere.png",
        proposals=tuple(dataclasses.replace(p, score=0.9, id=p.id + "x") for p in reversed(query.proposals)),
    )
    assert same.key("digits") == query.key("digits")
    assert query.key("another scenario") != query.key("digits")
    assert dataclasses.replace(query, digest="another picture").key("digits") != query.key("digits")
    assert dataclasses.replace(query, proposals=(proposal(1, 1),)).key("digits") != query.key("digits")


def test_the_keys_of_questions_that_were_asked_before_there_were_polygons_are_the_same():
    cells = (Proposal("cell-3-0", 0, 24, 8, 8, 0.3), Proposal("cell-0-1", 8, 0, 8, 8, 0.2))
    query = Query("a", "a.png", "digest", 32, 32, "8", "3", {"8": 1.0}, 0.5, cells)
    assert query.key("digits") == "4dd8282ba2103538"


def test_another_outline_is_another_question(asked):
    def key(proposal):
        return dataclasses.replace(asked.queries[0], proposals=(proposal,)).key("digits")

    other = dataclasses.replace(POLYGON, points=(*POLYGON.points[:-1], (64.5, 60.0)))
    assert len({key(POLYGON), key(other), key(dataclasses.replace(POLYGON, points=()))}) == 3
    assert key(dataclasses.replace(POLYGON, id="x", score=0.5)) == key(POLYGON)


def answer(expert: str, id: int) -> Answer:
    return Answer("k", "image", expert, id, "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z", None, False, None)


def test_the_same_answers_are_the_same_bytes(tmp_path):
    answers = [answer("b", 1), answer("a", 3), answer("a", 2)]
    write_answers(tmp_path / "one.json", answers)
    write_answers(tmp_path / "two.json", answers[::-1])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert read_answers(tmp_path / "one.json") == [answers[2], answers[1], answers[0]]


def test_damaged_answers_are_named(tmp_path):
    (tmp_path / "answers.json").write_text('[{"key": "k"}]')
    with pytest.raises(AnnotationError, match=r"answers\.json is not a list of answers.*Fix: restore it from Git"):
        read_answers(tmp_path / "answers.json")
    whole = dataclasses.asdict(answer("a", 1))
    for field, value in (("updated_at", 7), ("created_at", "x"), ("result", 7), ("key", []), ("skipped", None)):
        (tmp_path / "answers.json").write_text(json.dumps([{**whole, field: value}]))
        with pytest.raises(AnnotationError, match="missing, unknown or damaged fields"):
            read_answers(tmp_path / "answers.json")
