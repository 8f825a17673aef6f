"""Evidence marks from the labelling page to the mask, at the fake and the real Label Studio; an old project goes on."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from fakes.clients import left_half, rest
from fakes.labelling_page import click_cell, drag, open_as, press, regions_listed, shows, submit
from fakes.queries import CELL, SIDE, manifest

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import interfaces, regions
from labelstudio.exchange.records import AnnotationError
from labelstudio.reading import consensus
from labelstudio.reading.marks import both_ways, disregarded, says_evidence
from labelstudio.reading.verdicts import Verdict, verdict

ROUND_EVIDENCE = (np.hypot(*(np.mgrid[:SIDE, :SIDE] - np.array([40, 50])[:, None, None])) <= 20).astype(bool)


def test_a_simulated_expert_draws_one_ellipse_around_the_evidence(admin, expert, project, tmp_path):
    asked = manifest(tmp_path, 2)
    admin.push(project, asked, tmp_path)
    simulated = SimulatedExpert(expert, lambda _: ROUND_EVIDENCE, marks="evidence")
    assert simulated.answer(project, asked.keys()) == 2
    answers = admin.pull(project, asked.keys())
    for answer in answers:
        query = asked.keys()[answer.key]
        assert verdict(answer, query) is Verdict.EVIDENCE
        assert says_evidence(answer, query)
        assert both_ways(answer, query) == []
        mask, unused = disregarded(answer.result, SIDE, SIDE)
        assert unused == []
        assert not (mask & ROUND_EVIDENCE).any()
        assert (~mask).sum() < 1.15 * ROUND_EVIDENCE.sum()
        np.testing.assert_array_equal(consensus.disregarded([answer], SIDE, SIDE), mask)
    alone = {answer.key: answer for answer in simulated.answers(asked, asked.keys())}
    assert {answer.key: answer.result for answer in answers} == {key: one.result for key, one in alone.items()}


def test_a_simulated_expert_errs_about_the_evidence(tmp_path):
    asked = manifest(tmp_path, 60)

    def said(**errors):
        simulated = SimulatedExpert(None, lambda _: ROUND_EVIDENCE, marks="evidence", **errors)
        answers = simulated.answers(asked, asked.keys())
        assert answers == simulated.answers(asked, asked.keys())
        return [(verdict(answer), disregarded(answer.result, SIDE, SIDE)[0]) for answer in answers]

    missed = [word for word, _ in said(miss_rate=0.5)]
    assert 15 < missed.count(Verdict.NOTHING) < 45
    assert {*missed} == {Verdict.NOTHING, Verdict.EVIDENCE}
    wrong = [bool((mask & ROUND_EVIDENCE).any()) for _, mask in said(false_alarm_rate=0.5)]
    assert 15 < sum(wrong) < 45
    unknown = SimulatedExpert(None, lambda _: None, marks="evidence").answers(asked, asked.keys())
    assert {verdict(answer) for answer in unknown} == {Verdict.CANNOT_JUDGE}
    nowhere = SimulatedExpert(None, lambda _: np.zeros((SIDE, SIDE), bool), marks="evidence")
    none = nowhere.answers(asked, asked.keys())
    assert {verdict(answer) for answer in none} == {Verdict.MARKED}, "without evidence, proposals are marked"


def earlier(interface: str, *labels: str) -> str:
    """The interface before there were brightness and contrast, and these labels, as its digest says."""
    text = interface.replace(
        "lay on what must not matter before it learned from the marks",
        "lay inside the marks before it learned from them",
    )
    text = re.sub(r'(zoomBy|brightnessControl|contrastControl)="[^"]*"', "", text)
    text = text.replace('strokeWidth="1" opacity="0.45"', 'strokeWidth="3" opacity="0.15"')
    for label in labels:
        text = re.sub(f'<Label value="{label}"[^>]*/>', "", text)
    digest = hashlib.sha256(interfaces.canonical(text).encode()).hexdigest()
    assert digest in projects.EARLIER[interface]
    return text


OLD = {
    "queries, twice": (projects.INTERFACE, [regions.EVIDENCE, regions.PREFILLED]),
    "queries": (projects.INTERFACE, [regions.PREFILLED]),
    "queries, of late": (projects.INTERFACE, []),
    "effects": (projects.EFFECT, []),
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_project_gets_the_new_labels_and_keeps_its_answers(label_studio, admin, expert, tmp_path, name):
    interface, labels = OLD[name]
    title = f"from before, {name}"
    body = {"title": title, "label_config": earlier(interface, *labels), "model_version": "lookaway"}
    row = rest(label_studio).post("/api/projects", json=body).json()
    with pytest.raises(AnnotationError, match="another labelling interface"):
        admin.ensure_project(
            title, interface=projects.EFFECT if interface == projects.INTERFACE else projects.INTERFACE
        )
    asked = manifest(tmp_path, 2)
    before = []
    if interface == projects.INTERFACE:
        old = projects.Project(row["id"], title, "", name=title, created_at=row["created_at"])
        admin.push(old, asked, tmp_path)
        SimulatedExpert(expert, left_half).answer(old, list(asked.keys())[:1])
        before = admin.pull(old, asked.keys())
        assert [verdict(answer) for answer in before] == [Verdict.MARKED]

    project = admin.ensure_project(title, interface=interface)
    there = rest(label_studio).get(f"/api/projects/{project.id}").json()
    assert interfaces.canonical(there["label_config"]) == interfaces.canonical(interface)
    assert admin.ensure_project(title, interface=interface) == project
    if interface == projects.INTERFACE:
        assert admin.pull(project, asked.keys()) == before
        SimulatedExpert(expert, left_half, marks="evidence").answer(project, asked.keys())
        said = {answer.image_id: verdict(answer) for answer in admin.pull(project, asked.keys())}
        assert sorted(said.values(), key=str) == [Verdict.EVIDENCE, Verdict.MARKED]


@pytest.mark.labelstudio
@pytest.mark.browser
def test_a_person_says_where_the_evidence_is(page, real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    asked = manifest(tmp_path, 2)
    project = admin.ensure_project("evidence by hand")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)

    shows(page, "1 of 2")
    press(page, "o", "3")
    page.keyboard.down("Control")  # without it, the outline under the mouse would move
    drag(page, (42, 54), (72, 72))  # from its centre, which is inside an outline, to the corner of its box
    page.keyboard.up("Control")
    regions_listed(page, 4)
    press(page, "Escape", "v")
    submit(page)
    shows(page, "2 of 2")  # a region marked both ways is green, as it counts
    click_cell(page, 3, 4)
    press(page, "2", "3", "Escape")
    click_cell(page, 0, 0)
    press(page, "3", "3", "Escape")  # and the same key takes evidence back
    colours = page.evaluate("() => window.Htx.annotationStore.selected.regions.map(region => region.getOneColor())")
    submit(page)

    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    y, x = np.mgrid[0.5:SIDE, 0.5:SIDE]
    ellipse = ((x - 42) / 30) ** 2 + ((y - 54) / 18) ** 2 <= 1
    mask, unused = disregarded(answers["image-000"].result, SIDE, SIDE)
    assert unused == []
    assert (~mask & ellipse).sum() / (~mask | ellipse).sum() > 0.85
    assert colours == ["#1f78ff", "#76c800", "#1f78ff"]
    assert both_ways(answers["image-001"], asked.queries[1]) == [
        'region c3r4 is marked both "Disregard" and "The evidence is here": the evidence counts'
    ]
    cell = np.zeros((SIDE, SIDE), bool)
    cell[4 * CELL : 5 * CELL, 3 * CELL : 4 * CELL] = True
    np.testing.assert_array_equal(disregarded(answers["image-001"].result, SIDE, SIDE)[0], ~cell)
    drawn = regions.drawn("ellipse", {}, regions.EVIDENCE, width=SIDE, height=SIDE)
    by_hand = [entry for entry in answers["image-000"].result if entry["origin"] == "manual"]
    assert [{**e, "id": "", "value": {}} for e in by_hand] == [{**e, "id": "", "value": {}} for e in drawn]
