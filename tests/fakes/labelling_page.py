"""A person's hands at Label Studio's labelling page; places are pixels of the picture."""

from __future__ import annotations

from fakes.queries import CELL

# Key presses and clicks, counted in the page.
COUNTING = """window.hands = {keys: 0, clicks: 0};
    addEventListener('keydown', () => hands.keys++, true);
    addEventListener('mousedown', () => hands.clicks++, true);"""


def open_as(page, account, project):
    """Follow the link that `wait` prints, log in, read the instructions, close them."""
    page.goto(project.url)
    log_in(page, account)
    page.wait_for_selector("text=must not matter")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=must not matter", state="hidden")


def log_in(page, account):
    """Give the name and the password that the page asks for."""
    page.fill("input[name=email]", account["email"])
    page.fill("input[name=password]", account["password"])
    page.click("button[type=submit]")


def image_on(page) -> dict[str, float]:
    """Where the picture lies, once it is large: Label Studio shows it small first and fits it afterwards."""
    page.wait_for_function(
        """() => {
            const image = document.querySelector(".lsf-image")?.getBoundingClientRect();
            if (!image) return false;
            const box = [image.x, image.y, image.width, image.height].join();
            const settled = box === window.lastBox && Math.max(image.width, image.height) > 500;
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
    image = "window.Htx.annotationStore.selected.names.get('image')"
    width, height = page.evaluate(f"[{image}.naturalWidth, {image}.naturalHeight]")
    return box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height


def settle(page) -> None:
    """Wait until the page has reacted, as a person does."""
    page.wait_for_timeout(200)
    idle = "new Promise(done => requestIdleCallback(done, {timeout: 500}))"  # a page that animates is never idle
    page.evaluate(f"() => {idle}.then(() => {idle})")


def click(page, x: float, y: float) -> None:
    page.mouse.click(*on_screen(page, x, y))
    settle(page)


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
    settle(page)


def slide(page, *, up: float) -> None:
    """Move the handle of the slider that a tool shows, by so many pixels of the screen."""
    box = page.locator(".lsf-range__range-handle").bounding_box()  # of no size: its disc is drawn around it
    page.mouse.move(box["x"], box["y"])
    page.mouse.down()
    page.mouse.move(box["x"], box["y"] - up, steps=5)
    page.mouse.up()
    settle(page)


def frame(page, *corners: tuple[float, float]) -> None:
    """Drag the arrow's frame from one corner (column, row of the grid) to the other."""
    press(page, "v")
    drag(page, *((CELL * column, CELL * row) for column, row in corners))


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def regions_listed(page, count: int) -> None:
    """Wait until the page's list has so many regions."""
    page.wait_for_function("count => window.Htx.annotationStore.selected.regions.length === count", arg=count)


def shows(page, position: str, round: str = "00") -> None:
    """Wait until the page has this task, all of it."""
    page.wait_for_selector(f"text=Image {position}, round {round}")
    image_on(page)
    settle(page)


def submit(page, button: str = "Submit", *, by_key: bool = False) -> None:
    """Press this button, or its key, and wait until the server has the answer."""
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as response:
        if by_key:
            page.keyboard.press({"Submit": "Control+Enter", "Skip": "Control+Space"}[button])
        else:
            page.locator(f"button:has-text('{button}')").first.click()
    assert response.value.ok
