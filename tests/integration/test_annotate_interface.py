"""A person at the labelling page, in a real browser, against a real server."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.queries import CELL, POLYGON, SIDE, manifest

from labelstudio import consensus, regions
from labelstudio.client import LabelStudio

pytestmark = [pytest.mark.labelstudio, pytest.mark.browser]

EXPERT = "expert@localhost.local"


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page on the smallest screen we promise."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def admin(real_label_studio):
    return LabelStudio(real_label_studio.url, real_label_studio.api_key)


def open_as_expert(page, label_studio, project):
    """Follow the link that `wait` prints, log in, read the instructions, close them."""
    page.goto(project.url)
    page.fill("input[name=email]", label_studio.expert["email"])
    page.fill("input[name=password]", label_studio.expert["password"])
    page.click("button[type=submit]")
    page.wait_for_selector("text=must not matter")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=must not matter", state="hidden")


def image_on(page) -> dict[str, float]:
    """Where the picture lies, once it is large: Label Studio shows it small first and fits it afterwards."""
    page.wait_for_function(
        """() => {
            const image = document.querySelector(".lsf-image")?.getBoundingClientRect();
            if (!image) return false;
            const box = [image.x, image.y, image.width, image.height].join();
            const settled = box === window.lastBox && Math.min(image.width, image.height) > 500;
            window.lastBox = box;
            return settled;
        }""",
        polling=200,
    )
    box = page.locator(".lsf-image").bounding_box()
    assert box is not None
    return box


def on_screen(page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen this place of the picture (in its pixels) is."""
    box = image_on(page)
    return box["x"] + x * box["width"] / SIDE, box["y"] + y * box["height"] / SIDE


def click(page, x: float, y: float) -> None:
    page.mouse.click(*on_screen(page, x, y))


def click_cell(page, column: int, row: int) -> None:
    click(page, (column + 0.5) * CELL, (row + 0.5) * CELL)


def drag(page, *places: tuple[float, float]) -> None:
    """Draw a line through these places of the picture, in its pixels."""
    first, *others = [on_screen(page, *place) for place in places]
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=10)
    page.mouse.up()


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(300)  # the page takes its time to change tools


def regions_listed(page, count: int) -> None:
    """Wait until the page's list has so many regions."""
    page.wait_for_function("count => window.Htx.annotationStore.selected.regions.length === count", arg=count)


def submit(page, button: str = "Submit") -> None:
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as response:
        page.locator(f"button:has-text('{button}')").first.click()
    assert response.value.ok


def cells(*places: tuple[int, int]) -> regions.Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for column, row in places:
        mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
    return mask


def test_an_expert_marks_unmarks_draws_and_skips(page, real_label_studio, admin, tmp_path):
    asked = manifest(tmp_path, 4)
    project = admin.ensure_project("a person at work")
    admin.push(project, asked, tmp_path)
    open_as_expert(page, real_label_studio, project)

    # The least certain query comes first; all of it, and the buttons, fit on the screen.
    page.wait_for_selector("text=Image image-000, round 00")
    assert page.locator("text=Truth: 8").is_visible()
    assert page.locator("text=Model says: 3").is_visible()
    assert page.locator("text=3: 50% · 8: 30% · 1: 20%").is_visible()
    box = image_on(page)
    assert box["y"] + box["height"] <= page.locator("button:has-text('Submit')").first.bounding_box()["y"]

    # One click and one key mark a proposal; the other key takes it back.
    click_cell(page, 3, 4)
    page.keyboard.press("2")
    page.keyboard.press("Escape")
    click_cell(page, 0, 0)
    page.keyboard.press("2")
    page.keyboard.press("1")
    submit(page)

    # Own regions can be drawn.
    page.wait_for_selector("text=Image image-001, round 00")
    image_on(page)
    page.keyboard.press("2")
    drag(page, (SIDE * 0.5, SIDE * 0.125), (SIDE * 0.75, SIDE * 0.25))
    submit(page)

    page.wait_for_selector("text=Image image-002, round 00")
    submit(page, "Skip")

    page.wait_for_selector("text=Image image-003, round 00")
    submit(page)  # as it is: every box is where it should be

    answers = {answer.image_id: answer for answer in admin.pull(project, asked.keys())}
    assert {answer.expert for answer in answers.values()} == {EXPERT}
    assert [answers[f"image-00{n}"].skipped for n in range(4)] == [False, False, True, False]
    assert all(answer.parent_prediction and answer.lead_time for answer in answers.values())
    assert regions.marked(answers["image-000"].result) == {"c3r4"}
    masks = {name: consensus.disregarded([answer], SIDE, SIDE) for name, answer in answers.items()}
    np.testing.assert_array_equal(masks["image-000"], cells((3, 4)))
    drawn = cells((4, 1), (5, 1))
    assert (masks["image-001"] & drawn).sum() / (masks["image-001"] | drawn).sum() > 0.9
    assert regions.marked(answers["image-001"].result) == set(), "what was drawn is no proposal"
    assert not masks["image-002"].any()
    assert not masks["image-003"].any()
    assert admin.progress(project, asked.keys()).answered == 3


def test_an_expert_marks_proposals_of_any_shape_and_draws_any_shape(page, real_label_studio, admin, tmp_path):
    asked = manifest(tmp_path, 2, more=(POLYGON,))
    project = admin.ensure_project("shapes")
    admin.push(project, asked, tmp_path)
    open_as_expert(page, real_label_studio, project)

    page.wait_for_selector("text=Image image-000, round 00")
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
    press(page, "1", "Escape")
    submit(page)

    # The arrow stays in the hand for the next picture.
    page.wait_for_selector("text=Image image-001, round 00")
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
    areas = {kind: regions.area(entry, SIDE, SIDE) for kind, entry in drawn.items()}
    y, x = np.mgrid[0.5:SIDE, 0.5:SIDE]
    expected = {
        "rectangle": (x >= 24) & (x < 48) & (y >= 12) & (y < 24),
        "ellipse": ((x - 72) / 12) ** 2 + ((y - 12) / 6) ** 2 <= 1,
        "polygon": (x <= 30) & (y >= 60) & (y - 60 <= x - 6),
        "brush": (x >= 39) & (x < 71) & (abs(y - 84.5) <= 1.3),
    }
    for kind, area in areas.items():
        assert (area & expected[kind]).sum() / (area | expected[kind]).sum() > 0.85, kind

    mask, (unused,) = regions.mask(result, SIDE, SIDE)
    assert unused.endswith("no label")
    together = regions.pixels(POLYGON, SIDE, SIDE) | cells((0, 0))
    for area in areas.values():
        together |= area
    np.testing.assert_array_equal(mask, together)
    np.testing.assert_array_equal(consensus.disregarded([answers["image-000"]], SIDE, SIDE), mask)
    np.testing.assert_array_equal(regions.mask(answers["image-001"].result, SIDE, SIDE)[0], cells((7, 7)))

    # What a simulated expert submits is what the page does.
    query = asked.queries[1]
    as_simulated = regions.relabelled(regions.to_result(query), {"c7r7"}, regions.DISREGARD)
    assert answers["image-001"].result == as_simulated


def labelled(result: list[dict]) -> set[str]:
    return {entry["id"] for entry in result if entry["type"] == "labels"}
