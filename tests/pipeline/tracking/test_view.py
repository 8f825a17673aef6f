"""The experiment's page in MLflow: its note and its views."""

import json

from pipeline.tracking import view


class Client:
    def __init__(self):
        self.tags = {}

    def set_experiment_tag(self, experiment, name, value):
        self.tags[name] = value


def test_the_note_has_as_many_parts_as_there_is_room_for():
    client = Client()
    view.set_page(client, "7", ["what it means\n\n", "a table\n", "x" * view.ROOM, "never alone"])
    note = client.tags["mlflow.note.content"]
    assert "what it means\n\na table\n" in note
    assert "x" * 10 not in note
    assert "never alone" not in note
    assert note.endswith(view.LEFT_OUT)
    for key in ("comparison", "over-seeds"):
        assert f"(#/experiments/7/runs?viewStateShareKey={key}&compareRunsMode=CHART)" in note
    assert all(len(value) <= view.ROOM for value in client.tags.values())


def note_of(parts):
    client = Client()
    view.set_page(client, "7", parts)
    return client.tags["mlflow.note.content"]


def test_a_note_that_just_fits_is_whole():
    room = view.ROOM - len(note_of([]))
    whole = note_of(["a" * 100, "b" * (room - 100)])
    assert len(whole) == view.ROOM
    assert view.LEFT_OUT not in whole
    longer = note_of(["a" * 100, "b" * (room - 99)])
    assert longer.endswith("a" * 100 + view.LEFT_OUT)


def test_only_the_view_over_seeds_is_grouped():
    client = Client()
    view.set_page(client, "7", [])
    states = {key: json.loads(client.tags[f"mlflow.sharedViewState.{key}"]) for key in ("comparison", "over-seeds")}
    assert states["comparison"].pop("groupBy") is None
    assert [key["groupByData"] for key in states["over-seeds"].pop("groupBy")["groupByKeys"]] == ["scenario", "arm"]
    assert states["comparison"] == states["over-seeds"]
    sections = {section["uuid"] for section in states["comparison"]["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in states["comparison"]["compareRunCharts"]} <= sections
