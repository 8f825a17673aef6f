"""A person at the labelling page, in a real browser, against a real server."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes.labelling_page import (
    click,
    click_cell,
    drag,
    frame,
    image_on,
    open_as,
    press,
    regions_listed,
    shows,
    slide,
    submit,
)
from fakes.queries import CELL, POLYGON, SIDE, manifest, proposal

from labelstudio.client.backend import LabelStudio
from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import Manifest
from labelstudio.reading import consensus
from labelstudio.reading.verdicts import Verdict, verdict

pytestmark = [pytest.mark.labelstudio, pytest.mark.browser]

EXPERT = "expert@localhost.local"


@pytest.fixture
def admin(real_label_studio):
    return LabelStudio(real_label_studio.url, real_label_studio.api_key)


# All parts of the page with more content than they show.
SCROLLED = """() => [document.documentElement, ...document.querySelectorAll('*')]
    .filter(e => e.clientHeight > 0 && e.scrollHeight > e.clientHeight + 2)
    .filter(e => e === document.documentElement || ['auto', 'scroll'].includes(getComputedStyle(e).overflowY))
    .map(e => e.className)"""


COLOURS = "() => window.Htx.annotationStore.selected.regions.map(region => region.getOneColor())"
BLUE, PINK, GREY = "#1f78ff", "#e5007d", "#7f7f7f"


def test_the_arrows_frame_takes_many_proposals_at_once(page, real_label_studio, admin, tmp_path):
    """The behaviour of Label Studio 1.23, one answer for each fact."""
    asked = manifest(tmp_path, 4)
    project = admin.ensure_project("the frame")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)

    shows(page, "1 of 4")  # all touched proposals are selected; one key marks all of them
    frame(page, (2.5, 3.5), (7.2, 7.2))
    press(page, "2", "Escape")
    submit(page)
    shows(page, "2 of 4")  # the same key again takes all marks back
    frame(page, (2.5, 3.5), (7.2, 7.2))
    press(page, "2", "2", "Escape")
    submit(page)
    shows(page, "3 of 4")  # where some are marked already, the key marks the others too
    click_cell(page, 3, 4)
    press(page, "2", "Escape")
    frame(page, (7.9, 3.5), (2.5, 7.9))
    press(page, "2", "Escape")
    submit(page)
    shows(page, "4 of 4")  # a frame around nothing marks nothing
    frame(page, (2.2, 2.2), (2.9, 7.9))
    press(page, "Escape")
    submit(page)

    answers = sorted(admin.pull(project, asked.keys()), key=lambda answer: answer.image_id)
    both, taken_back, others_too, nothing = [regions.marked(answer.result) for answer in answers]
    assert both == others_too == {"c3r4", "c7r7"}
    assert taken_back == nothing == set()
    assert [verdict(answer) for answer in answers[1:3]] == [Verdict.NOTHING, Verdict.MARKED]
    np.testing.assert_array_equal(regions.mask(answers[0].result, SIDE, SIDE)[0], cells((3, 4), (7, 7)))


def cells(*places: tuple[int, int], size: tuple[int, int] = (SIDE, SIDE)) -> geometry.Mask:
    mask = np.zeros(size[::-1], dtype=bool)
    for column, row in places:
        mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
    return mask


def test_an_expert_marks_unmarks_draws_and_skips(page, real_label_studio, admin, tmp_path):
    asked = manifest(tmp_path, 4)
    project = admin.ensure_project("a person at work")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)

    # The least certain query comes first; all of it, and the buttons, fit on the screen.
    shows(page, "1 of 4")
    assert page.locator("text=Truth: 8").is_visible()
    assert page.locator("text=Model says: 3").is_visible()
    assert page.locator("text=3: 50% · 8: 30% · 1: 20%").is_visible()
    box = image_on(page)
    assert min(box["width"], box["height"]) > 640, "the image is most of a screen of 1280x800"
    assert box["y"] + box["height"] <= page.locator("button:has-text('Submit')").first.bounding_box()["y"]
    assert page.evaluate(SCROLLED) == []
    # The saliency is there for who asks for it, beside the image and not over it.
    saliency = page.locator("img[alt='where the model looked']")
    assert not saliency.is_visible()
    page.click("text=Where the model looked")
    saliency.wait_for()
    assert saliency.evaluate("image => image.naturalWidth") == CELL
    assert saliency.bounding_box()["x"] > box["x"] + box["width"]
    assert image_on(page) == box
    assert page.evaluate(SCROLLED) == []

    # One click and one key mark a proposal; the same key takes it back, and no other key does anything to it.
    assert page.evaluate(COLOURS) == [BLUE, BLUE, BLUE]
    click_cell(page, 3, 4)
    press(page, "2", "1", "0", "4", "Escape")
    click_cell(page, 0, 0)
    press(page, "2", "2", "1", "0", "4")
    assert page.evaluate(COLOURS) == [BLUE, PINK, BLUE]
    submit(page)

    # Own regions can be drawn.
    shows(page, "2 of 4")
    image_on(page)
    press(page, "2")
    drag(page, (SIDE * 0.5, SIDE * 0.125), (SIDE * 0.75, SIDE * 0.25))
    submit(page)

    # A key zooms and another key shows the whole image again; sliders change brightness and contrast.
    shows(page, "3 of 4")
    shown = "[image.currentZoom, image.brightnessGrade, image.contrastGrade]"
    look = f"() => {{ const image = window.Htx.annotationStore.selected.names.get('image'); return {shown}; }}"
    (fit, *grades) = page.evaluate(look)
    press(page, "Control+=")
    assert page.evaluate(look) == [pytest.approx(1.5 * fit), *grades]
    press(page, "Shift+1")
    assert page.evaluate(look) == [pytest.approx(fit), *grades]
    for tool in ("brightness", "contrast"):
        page.locator(f"[aria-label={tool}]").click()
        slide(page, up=40)
    assert all(after > before for after, before in zip(page.evaluate(look)[1:], grades, strict=True))
    press(page, "v")
    submit(page, "Skip")

    shows(page, "4 of 4")
    submit(page)  # as it is: every box is where it should be

    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    assert {answer.expert for answer in answers.values()} == {EXPERT}
    assert [answers[f"image-00{n}"].skipped for n in range(4)] == [False, False, True, False]
    assert all(answer.parent_prediction and answer.lead_time for answer in answers.values())
    assert regions.marked(answers["image-000"].result) == {"c3r4"}
    assert regions.mask(answers["image-000"].result, SIDE, SIDE)[1] == [], "no other label was given"
    masks = {name: consensus.disregarded([answer], SIDE, SIDE) for name, answer in answers.items()}
    np.testing.assert_array_equal(masks["image-000"], cells((3, 4)))
    drawn = cells((4, 1), (5, 1))
    assert (masks["image-001"] & drawn).sum() / (masks["image-001"] | drawn).sum() > 0.9
    assert regions.marked(answers["image-001"].result) == set(), "what was drawn is no proposal"
    assert not masks["image-002"].any()
    assert not masks["image-003"].any()
    assert admin.progress(project, asked.keys()).answered == 3


def test_an_expert_marks_and_draws_any_shape_on_pictures_of_any_shape(page, real_label_studio, admin, tmp_path):
    wide = manifest(tmp_path, 1, more=(POLYGON,), size=(2 * SIDE, SIDE))
    (tall,) = manifest(tmp_path, 1, first=1, size=(SIDE, 2 * SIDE)).queries
    tall = dataclasses.replace(tall, earlier=(proposal(5, 2),))  # experts disregarded that in an earlier round
    asked = Manifest("digits", "00", (*wide.queries, tall))
    project = admin.ensure_project("shapes")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)

    shows(page, "1 of 2")
    assert page.evaluate(SCROLLED) == []
    click(page, POLYGON.x + 8, POLYGON.y + 14)
    press(page, "2", "Escape")
    click_cell(page, 3, 4)
    press(page, "2", "Escape")
    press(page, "o", "2")
    drag(page, (72, 12), (84, 18))  # from its centre to the corner of its box
    regions_listed(page, 5)
    press(page, "Escape", "p", "2")
    for place in [(6, 60), (30, 60), (30, 84), (6, 60)]:
        click(page, *place)
        page.wait_for_timeout(300)
    regions_listed(page, 6)
    press(page, "Escape", "b", "2")
    drag(page, (40, 84.5), (70, 84.5))
    regions_listed(page, 7)
    press(page, "Escape", "r", "2")
    drag(page, (24, 12), (48, 24))
    regions_listed(page, 8)
    press(page, "Escape")
    drag(page, (4, 30), (16, 42))  # without a label: it says nothing
    regions_listed(page, 9)
    # After all that, the arrow takes a mark back, or sets one.
    press(page, "Escape", "v")
    click_cell(page, 0, 0)
    press(page, "2", "Escape")
    click_cell(page, 3, 4)
    press(page, "2", "Escape")
    submit(page)

    # The arrow stays in the hand for the next picture. Earlier marks are shown and stay unchanged.
    shows(page, "2 of 2")
    assert page.evaluate(SCROLLED) == []
    assert page.evaluate(COLOURS) == [GREY, BLUE, BLUE, BLUE]
    click_cell(page, 5, 2)
    press(page, "2", "Escape")
    click_cell(page, 7, 7)
    press(page, "2", "Escape")
    submit(page)

    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    result = answers["image-000"].result
    drawn = {
        e["type"]: e
        for e in result
        if e["origin"] == "manual" and e["type"] != "labels" and e["id"] in labelled(result)
    }
    assert set(drawn) == {"rectangle", "ellipse", "polygon", "brush"}
    assert regions.marked(result) == {"c0r0", POLYGON.id}
    areas = {kind: geometry.area(entry, 2 * SIDE, SIDE) for kind, entry in drawn.items()}
    y, x = np.mgrid[0.5:SIDE, 0.5 : 2 * SIDE]
    expected = {
        "rectangle": (x >= 24) & (x < 48) & (y >= 12) & (y < 24),
        "ellipse": ((x - 72) / 12) ** 2 + ((y - 12) / 6) ** 2 <= 1,
        "polygon": (x <= 30) & (y >= 60) & (y - 60 <= x - 6),
        "brush": (x >= 38) & (x < 72) & (abs(y - 84.5) <= 2.6),
    }
    for kind, area in areas.items():
        assert (area & expected[kind]).sum() / (area | expected[kind]).sum() > 0.85, kind

    mask, (unused,) = regions.mask(result, 2 * SIDE, SIDE)
    assert unused.endswith("no label")
    together = geometry.pixels(POLYGON, 2 * SIDE, SIDE) | cells((0, 0), size=(2 * SIDE, SIDE))
    for area in areas.values():
        together |= area
    np.testing.assert_array_equal(mask, together)
    np.testing.assert_array_equal(consensus.disregarded([answers["image-000"]], 2 * SIDE, SIDE), mask)
    size = SIDE, 2 * SIDE
    np.testing.assert_array_equal(regions.mask(answers["image-001"].result, *size)[0], cells((7, 7), size=size))

    # A simulated expert submits the same regions as the page.
    query = asked.queries[1]
    as_simulated = regions.relabelled(regions.to_result(query), {"c7r7"}, regions.DISREGARD)
    assert answers["image-001"].result == as_simulated


def labelled(result: list[dict]) -> set[str]:
    return {entry["id"] for entry in result if entry["type"] == "labels"}
