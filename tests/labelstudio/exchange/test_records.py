"""What passes between the pipeline and the experts: it survives the disk, and its keys mean something."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from fakes.queries import POLYGON, manifest, proposal

from labelstudio.exchange.records import AnnotationError, Answer, Manifest, Proposal, Query, read_answers, write_answers
from labelstudio.exchange.tasks import picture, tasks, write_tasks


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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scenario": "a", "round": "00", "queries": [{"key": 1}]}'])
def test_what_is_no_manifest_is_named(tmp_path, text):
    path = tmp_path / "queries.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"queries\.json is not a manifest"):
        Manifest.read(path)


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


def test_what_are_no_answers_is_named(tmp_path):
    (tmp_path / "answers.json").write_text('[{"key": "k"}]')
    with pytest.raises(AnnotationError, match=r"answers\.json is not a list of answers"):
        read_answers(tmp_path / "answers.json")


# --- tasks ---


def test_tasks_to_import_by_hand_carry_their_pictures_and_are_the_same_bytes(asked, tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    write_tasks(asked, tmp_path, one)
    write_tasks(asked, tmp_path, two)
    assert one.read_bytes() == two.read_bytes()
    document = json.loads(one.read_text())
    assert [task["data"]["key"] for task in document] == list(asked.keys())
    assert document == tasks(asked, lambda q: document[asked.queries.index(q)]["data"]["image"], lambda _: "")
    assert document[0]["data"]["image"].startswith("data:image/png;base64,")


def test_the_least_certain_query_has_the_lowest_score(asked):
    scores = [task["predictions"][0]["score"] for task in tasks(asked, lambda q: q.image, lambda q: q.heat)]
    assert scores == sorted(scores)
    assert all(0 <= score <= 1 for score in scores)
    beyond = dataclasses.replace(asked.queries[0], entropy=1.0000000001)  # rounding in the model
    (task,) = tasks(dataclasses.replace(asked, queries=(beyond,)), lambda q: q.image, lambda q: q.heat)
    assert task["predictions"][0]["score"] == 0


def test_probabilities_are_readable_and_ties_have_an_order(asked):
    query = dataclasses.replace(asked.queries[0], probabilities={"c": 0.2, "b": 0.2, "a": 0.004, "d": 0.596})
    (task,) = tasks(dataclasses.replace(asked, queries=(query,)), lambda q: q.image, lambda q: q.heat)
    assert task["data"]["probabilities"] == "d: 60% · b: 20% · c: 20%"


def test_a_missing_picture_is_named(asked, tmp_path):
    (tmp_path / "000.png").unlink()
    with pytest.raises(AnnotationError, match=r"000\.png"):
        picture(asked.queries[0], tmp_path)


@pytest.mark.parametrize("module", ["records", "regions", "tasks", "consensus", "ledger", "verdicts"])
def test_these_modules_import_nothing_heavy(module):
    program = f"""
import sys, labelstudio.{module}
heavy = ["torch", "pipeline", "mlflow", "dvc", "label_studio_sdk", "label_studio", "httpx", "pandas"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
