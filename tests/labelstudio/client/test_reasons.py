"""Reasons for a mark: offered by a project, given by one key, and read from the answers."""

from __future__ import annotations

import pytest
from fakes.clients import left_half, rest
from fakes.labelling_page import click_cell, open_as, press, shows, submit
from fakes.queries import answer, manifest

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.exchange import regions
from labelstudio.exchange.effects import Effect
from labelstudio.exchange.interfaces import canonical, reasons_of, with_reasons
from labelstudio.exchange.records import AnnotationError
from labelstudio.reading.corrections import corrections
from labelstudio.reading.marks import reasons
from labelstudio.reading.reasons import report, words
from labelstudio.reading.verdicts import Verdict, contradictions, verdict

WORDS = ("ruler", "hair & skin")


def offered(label_studio, project) -> list[str]:
    return reasons_of(rest(label_studio).get(f"/api/projects/{project.id}").json()["label_config"])


def test_a_project_offers_reasons_and_never_takes_one_back(label_studio, admin, expert, tmp_path):
    asked = manifest(tmp_path, 1)
    project = admin.ensure_project("with reasons", reasons=WORDS[:1])
    assert offered(label_studio, project) == ["ruler"]
    admin.push(project, asked, tmp_path)
    SimulatedExpert(expert, left_half).answer(project, asked.keys())
    before = admin.pull(project, asked.keys())
    for wanted, found in ((WORDS, [*WORDS]), (WORDS[::-1], [*WORDS]), ((), [*WORDS])):
        assert admin.ensure_project("with reasons", reasons=wanted) == project
        assert offered(label_studio, project) == found
    with pytest.raises(AnnotationError, match="8 reasons, ruler, hair & skin, a, b, c, d, e, f, but there are 7 keys"):
        admin.ensure_project("with reasons", reasons=["a", "b", "c", "d", "e", "f"])
    assert admin.pull(project, asked.keys()) == before


def test_without_reasons_the_interface_is_the_same():
    assert with_reasons(projects.INTERFACE, []) == projects.INTERFACE
    some = with_reasons(projects.INTERFACE, WORDS)
    assert some != projects.INTERFACE
    assert canonical(some) == canonical(projects.INTERFACE)
    assert reasons_of(some) == [*WORDS]
    assert reasons_of("<View>") == []


def reason(region: str, *words: str) -> dict:
    value = {"x": 0, "y": 0, "width": 1, "height": 1, "choices": [*words]}
    both = {"to_name": "image", "origin": "manual", "original_width": 96, "original_height": 96}
    return {"id": region, "type": "choices", "from_name": "reason", "value": value, **both}


def test_a_reason_belongs_to_a_mark_and_changes_no_mask(tmp_path):
    (query,) = manifest(tmp_path, 1).queries
    plain = answer("k", {"c0r0", "c3r4"}, query)
    values = [3, None, {}, {"choices": "hair"}, {"choices": [[]]}, {"choices": {}}]
    broken = [{"type": "choices", "from_name": "reason", "id": []}, *({**reason("c3r4"), "value": v} for v in values)]
    given = answer("k", {"c0r0", "c3r4"}, query)
    given.result.extend([reason("c0r0", "ruler"), reason("c7r7", "hair"), *broken])
    assert reasons(given.result) == {"c0r0": "ruler"}
    masks = [regions.mask(one.result, 96, 96) for one in (plain, given)]
    assert (masks[0][0] == masks[1][0]).all()
    assert masks[1][1] == []
    assert verdict(given, query) is Verdict.MARKED
    assert corrections(given, query).keys == 3
    assert contradictions(given, query) == [
        'region c7r7 has the reason "hair" without "Disregard": it is not marked',
    ]
    alone = answer("k", set(), query)
    alone.result.extend([reason("c0r0", "ruler")])
    assert contradictions(alone, query) == ['region c0r0 has the reason "ruler" without "Disregard": it is not marked']


def test_marks_are_counted_by_reason_with_their_effect(tmp_path):
    asked = manifest(tmp_path, 3)
    first, second, _ = asked.queries
    one, two, three = (answer(key, {"c0r0", "c3r4"}, query) for key, query in asked.keys().items())
    one.result.extend([reason("c0r0", "ruler"), reason("c3r4", "ruler")])
    two.result.extend([reason("c0r0", "ruler"), reason("c3r4", "hair")])
    effects = [Effect(first.image_id, "", 0.5, 0.25), Effect(second.image_id, "", 0.25, 0.25)]
    found = report(asked.keys(), [one, two, three], effects)
    assert found == {
        "ruler": {"marks": 3, "images": 2, "before": 0.375, "after": 0.25},
        "hair": {"marks": 1, "images": 1, "before": 0.25, "after": 0.25},
        "no reason": {"marks": 2, "images": 1, "before": None, "after": None},
    }
    assert words(found) == "ruler 3, hair 1, no reason 2"
    assert report(asked.keys(), [three], effects) == {}


@pytest.mark.labelstudio
@pytest.mark.browser
def test_a_person_gives_a_reason_by_one_key(page, real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    asked = manifest(tmp_path, 1)
    project = admin.ensure_project("reasons by hand", reasons=WORDS)
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)
    shows(page, "1 of 1")
    click_cell(page, 0, 0)
    press(page, "2", "4", "Escape")
    click_cell(page, 3, 4)
    press(page, "2", "4", "5", "Escape")  # the second reason takes the place of the first one
    click_cell(page, 7, 7)
    press(page, "2", "Escape")
    submit(page)
    (given,) = admin.pull(project, asked.keys())
    assert reasons(given.result) == {"c0r0": "ruler", "c3r4": "hair & skin"}
    assert regions.marked(given.result) == {"c0r0", "c3r4", "c7r7"}
    assert corrections(given, asked.queries[0]).keys == 5
