"""A person at the labelling page, in a real browser, against a real server."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.queries import CELL, SIDE, manifest

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


def click_cell(page, column: int, row: int) -> None:
    box = image_on(page)
    scale = box["width"] / SIDE
    page.mouse.click(box["x"] + (column + 0.5) * CELL * scale, box["y"] + (row + 0.5) * CELL * scale)


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
    box = image_on(page)
    page.keyboard.press("2")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.125)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.25, steps=5)
    page.mouse.up()
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
