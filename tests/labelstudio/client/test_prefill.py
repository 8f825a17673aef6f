"""Pre-filled marks: at the fake and the real Label Studio, and corrected by hand in a browser."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.clients import left_half, rest
from fakes.labelling_page import click_cell, open_as, press, shows, submit
from fakes.queries import SIDE, manifest, prefilled, proposal

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import Manifest
from labelstudio.reading.corrections import Corrections, corrections
from labelstudio.reading.marks import disregarded
from labelstudio.reading.verdicts import Verdict, verdict

BLUE, PINK, PALE = "#1f78ff", "#e5007d", "#ff9ad5"


def test_what_a_simulated_expert_corrects_is_what_it_would_mark(label_studio, admin, expert, project, tmp_path):
    plain = manifest(tmp_path, 3)
    asked = prefilled(plain, "c0r0", "c7r7")
    assert asked.keys().keys() == plain.keys().keys()
    asked.write(tmp_path / "queries.json")
    assert Manifest.read(tmp_path / "queries.json") == asked
    assert [admin.push(project, asked, tmp_path) for _ in range(2)] == [3, 0]
    shown = admin.tasks(project, asked.keys())[0].prediction()["result"]
    assert shown == regions.to_result(asked.queries[0])
    keys = list(asked.keys())
    assert admin.pull(project, keys) == [], "a mark that nobody has submitted is no answer"
    SimulatedExpert(expert, left_half).answer(project, keys[:2])
    answers = admin.pull(project, keys)
    assert {answer.key for answer in answers} == set(keys[:2])
    marked = geometry.pixels(proposal(7, 7), SIDE, SIDE)  # the only one outside of the evidence
    for answer in answers:
        np.testing.assert_array_equal(disregarded(answer.result, SIDE, SIDE)[0], marked)
        assert corrections(answer, asked.keys()[answer.key]) == Corrections(1, 1, 0, 1, 1)
        assert verdict(answer, asked.keys()[answer.key]) is Verdict.MARKED
    alone = SimulatedExpert(None, left_half).answers(asked, keys[:2])
    assert {a.key: a.result for a in alone} == {a.key: a.result for a in answers}


def test_unanswered_tasks_get_other_prefilled_marks_and_answered_ones_stay(admin, expert, tmp_path):
    project = admin.ensure_project("other pre-filled marks")
    plain = manifest(tmp_path, 3)
    admin.push(project, plain, tmp_path)
    first, *others = plain.keys()
    SimulatedExpert(expert, left_half).answer(project, [first])
    asked = prefilled(plain, "c0r0")
    assert [admin.push(project, asked, tmp_path) for _ in range(2)] == [2, 0]
    there = {task.key: task for task in admin.tasks(project, plain.keys()) if not task.withdrawn}
    assert {key: task.shows(asked.keys()[key]) for key, task in there.items()} == {first: False} | dict.fromkeys(
        others, True
    )
    SimulatedExpert(expert, left_half).answer(project, plain.keys())
    assert len(admin.pull(project, plain.keys())) == 3


@pytest.mark.labelstudio
@pytest.mark.browser
def test_a_person_corrects_a_prefilled_round(page, real_label_studio, tmp_path, record_property):
    """Two rounds: one begins without marks, one with marks of the computer, of which one is wrong on each image."""
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    project = admin.ensure_project("pre-filled by hand")
    first = manifest(tmp_path, 1)
    second = prefilled(manifest(tmp_path, 3, round="01", first=1), "c0r0", "c3r4")
    colours = "() => window.Htx.annotationStore.selected.regions.map(region => region.getOneColor())"
    for asked in (first, second):
        admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)
    shows(page, "1 of 1")
    for cell in ((0, 0), (7, 7)):
        click_cell(page, *cell)
        press(page, "2", "Escape")
    submit(page)
    shows(page, "1 of 3", round="01")
    assert page.evaluate(colours) == [PALE, PALE, BLUE]
    click_cell(page, 3, 4)
    press(page, "2", "Escape")  # taken back
    assert page.evaluate(colours) == [PALE, BLUE, BLUE]
    click_cell(page, 3, 4)
    press(page, "2", "2", "2", "Escape")  # marked by a person, taken back, and marked again
    click_cell(page, 7, 7)
    press(page, "2", "Escape")
    assert page.evaluate(colours) == [PALE, PINK, PINK], "a person's marks have a colour of their own"
    click_cell(page, 3, 4)
    press(page, "2", "Escape")
    submit(page)
    shows(page, "2 of 3", round="01")
    submit(page)
    shows(page, "3 of 3", round="01")
    press(page, "n")
    submit(page)

    answers = sorted(admin.pull(project, second.keys()), key=lambda answer: answer.image_id)
    by_key = second.keys()
    assert [verdict(a, by_key[a.key]) for a in answers] == [Verdict.MARKED, Verdict.CONFIRMED, Verdict.NOTHING]
    found = [corrections(a, by_key[a.key]) for a in answers]
    assert found == [Corrections(1, 1, 1, 2, 2), Corrections(2, 0, 0, 0, 0), Corrections(0, 2, 0, 0, 1)]
    marked, unused = disregarded(answers[0].result, SIDE, SIDE)
    cells = [geometry.pixels(proposal(*cell), SIDE, SIDE) for cell in ((0, 0), (7, 7))]
    np.testing.assert_array_equal(marked, cells[0] | cells[1])
    assert unused == []
    assert not disregarded(answers[2].result, SIDE, SIDE)[0].any()
    (unfilled,) = admin.pull(project, first.keys())
    assert corrections(unfilled, first.queries[0]) == Corrections(0, 0, 2, 2, 2)
    gestures = [sum(one.clicks + one.keys for one in found) / len(found), 4]
    seconds = [sum(a.lead_time for a in some) / len(some) for some in (answers, [unfilled])]
    for name, value in (
        ("expert_gestures_next_round", gestures[0]),
        ("expert_gestures_first_round", gestures[1]),
        ("expert_s_next_round", seconds[0]),
        ("expert_s_first_round", seconds[1]),
    ):
        record_property(name, value)  # for `make bench`
    assert gestures[0] <= 2 < gestures[1]
    rows = rest(real_label_studio).get("/api/tasks", params={"project": project.id}).json()["tasks"]
    assert len(rows) == 4
