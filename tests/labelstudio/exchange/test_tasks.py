"""Queries as tasks for Label Studio."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fakes.queries import manifest

from labelstudio.exchange.records import AnnotationError
from labelstudio.exchange.tasks import Task, heat, picture, tasks, write_tasks


@pytest.fixture
def asked(tmp_path):
    return manifest(tmp_path, 3)


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


def test_a_changed_picture_is_named(asked, tmp_path):
    (tmp_path / "000.png").write_bytes((tmp_path / "001.png").read_bytes())
    with pytest.raises(AnnotationError, match=r"000\.png is not the query's picture.*Fix: run `dvc repro`"):
        picture(asked.queries[0], tmp_path)


def test_a_querys_saliency_is_its_own(asked, tmp_path):
    assert heat(asked.queries[1], tmp_path) == (tmp_path / "001.heat.png").read_bytes()


def test_a_row_of_the_servers_list_is_a_task():
    row = {
        "id": 7,
        "data": {"key": "k", "image_id": "i", "round": "01"},
        "overlap": 0,
        "predictions": [{"id": 1, "model_version": "another"}],
        "annotations": [
            {"completed_by": 3, "was_cancelled": False},
            {"completed_by": {"id": 4}, "was_cancelled": False},
            {"completed_by": 5, "was_cancelled": True},
        ],
    }
    task = Task.of(row)
    assert (task.id, task.key, task.image_id, task.round, task.withdrawn) == (7, "k", "i", "01", True)
    assert task.experts() == {3, 4}
    with pytest.raises(AnnotationError, match=r"task 7 has no regions.*Fix: delete the task"):
        task.prediction()
