"""Three people at the labelling page at the same time, two rounds: what they said is what comes back.

The second of them has no mouse. The second round is pre-filled.
"""

from __future__ import annotations

import numpy as np
import pytest
from fakes.labelling_page import COUNTING, click_cell, drag, frame, open_as, press, regions_listed, shows, submit
from fakes.queries import CELL, SIDE, manifest, prefilled

from labelstudio.client.backend import LabelStudio
from labelstudio.exchange import regions
from labelstudio.exchange.geometry import Mask
from labelstudio.reading import consensus
from labelstudio.reading.verdicts import Verdict, removed, verdict
from labelstudio.server import accounts

pytestmark = [pytest.mark.labelstudio, pytest.mark.browser]

NAMES = ("ann", "ben", "cho")
_, MARKED, CONFIRMED, NOTHING, REMOVED, UNTOUCHED, CANNOT_JUDGE, SKIPPED = Verdict
# By image and expert: what they do, how that is read, and the cells (column, row) or box that they mark.
IMAGES = [
    [
        (lambda page: mark(page, (3, 4)), MARKED, [(3, 4)]),
        (lambda page: mark_by_keys(page, 2, 2), NOTHING, []),  # and takes it back
        (lambda page: mark_in_frame(page, (2.5, 3.5), (7.2, 7.2)), MARKED, [(3, 4), (7, 7)]),
    ],
    [
        (lambda page: draw(page, (48, 12), (72, 24)), MARKED, [(4, 1), (5, 1)]),
        (lambda page: press(page, "n"), NOTHING, []),
        (lambda page: press(page, "c"), CANNOT_JUDGE, []),
    ],
    [
        (None, SKIPPED, []),
        (lambda page: None, UNTOUCHED, []),
        (lambda page: mark(page, (0, 0), (7, 7)), MARKED, [(0, 0), (7, 7)]),
    ],
    [
        (lambda page: (mark(page, (0, 0)), remove(page, (3, 4))), MARKED, [(0, 0)]),
        (lambda page: mark_by_keys(page, 3, 1), MARKED, [(0, 0), (7, 7)]),
        (lambda page: mark(page, (0, 0), (7, 7), (0, 0)), MARKED, [(7, 7)]),
    ],
    [  # the outlines (0, 0) and (3, 4) come marked
        (lambda page: None, CONFIRMED, [(0, 0), (3, 4)]),
        (lambda page: mark_by_keys(page, 2), MARKED, [(0, 0)]),  # taken back
        (lambda page: mark(page, (7, 7)), MARKED, [(0, 0), (3, 4), (7, 7)]),
    ],
]
FIRST_ROUND = 4  # images


def mark(page, *places: tuple[int, int]) -> None:
    for place in places:
        click_cell(page, *place)
        press(page, "2", "Escape")


def mark_by_keys(page, *numbers: int) -> None:
    """Mark these outlines of the page's list, counted from 1."""
    for number in numbers:
        press(page, *["Alt+."] * number, "2", "Escape")


def remove(page, *places: tuple[int, int]) -> None:
    for place in places:
        click_cell(page, *place)
        press(page, "Backspace")


def mark_in_frame(page, *corners: tuple[float, float]) -> None:
    frame(page, *corners)
    press(page, "2", "Escape")


def draw(page, *corners: tuple[float, float]) -> None:
    press(page, "r", "2")
    drag(page, *corners)
    regions_listed(page, 4)
    press(page, "Escape", "v")


@pytest.fixture
def experts(chromium, real_label_studio):
    """A page for each of three accounts, which they made by invitation."""
    pages = {}
    for name in NAMES:
        account = accounts.new(name)
        accounts.sign_in(real_label_studio.url, real_label_studio.admin, account)
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(30_000)
        context.add_init_script(COUNTING)
        pages[account["email"]] = (context.new_page(), account)
    yield pages
    for page, _ in pages.values():
        page.context.close()


def test_three_experts_answer_two_rounds_at_the_same_time(experts, real_label_studio, tmp_path, record_property):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    project = admin.ensure_project("three experts", len(NAMES))
    next_round = manifest(tmp_path, len(IMAGES) - FIRST_ROUND, round="01", first=FIRST_ROUND)
    rounds = manifest(tmp_path, FIRST_ROUND), prefilled(next_round, "c0r0", "c3r4")
    for asked in rounds:
        admin.push(project, asked, tmp_path)
    queries = [query for asked in rounds for query in asked.queries]
    places = [
        (f"{n} of {len(asked.queries)}", asked.round) for asked in rounds for n in range(1, len(asked.queries) + 1)
    ]

    for page, account in experts.values():
        open_as(page, account, project)
    for place, image in zip(places, IMAGES, strict=True):  # nobody waits for anybody, and nobody is ahead
        for (page, _), (act, _, _) in zip(experts.values(), image, strict=True):
            shows(page, *place)
            if act:
                act(page)
        for (page, account), (act, _, _) in zip(experts.values(), image, strict=True):
            submit(page, "Submit" if act else "Skip", by_key=account["email"].startswith("ben@"))
    hands = [page.evaluate("window.hands") for page, _ in experts.values()]

    answers = {(answer.image_id, answer.expert): answer for answer in admin.pull(project)}
    assert len(answers) == len(IMAGES) * len(NAMES)
    for query, image in zip(queries, IMAGES, strict=True):
        for email, (_, said, marked) in zip(experts, image, strict=True):
            answer = answers[query.image_id, email]
            assert verdict(answer, query) is said, (query.image_id, email)
            assert answer.parent_prediction
            assert removed(answer, query) == (query.image_id == "image-003" and email.startswith("ann@"))
            mask, unused = regions.mask(answer.result, SIDE, SIDE)
            assert unused == []
            if said is MARKED and not regions.marked(answer.result):  # drawn by hand, as exactly as hands are
                assert (mask & area(*marked)).sum() / (mask | area(*marked)).sum() > 0.9
            else:
                np.testing.assert_array_equal(mask, area(*marked), err_msg=f"{query.image_id} {email}")
    given = list(answers.values())
    together = {
        query.image_id: consensus.disregarded([a for a in given if a.image_id == query.image_id], SIDE, SIDE)
        for query in queries
    }
    np.testing.assert_array_equal(together["image-000"], area((3, 4)))  # two of three
    assert not together["image-001"].any(), "one of two who could judge"
    assert not together["image-002"].any(), "one of two who answered"
    np.testing.assert_array_equal(together["image-003"], area((0, 0), (7, 7)))
    np.testing.assert_array_equal(together["image-004"], area((0, 0), (3, 4)))

    images = len(answers)
    keys, clicks = (sum(hand[kind] for hand in hands) / images for kind in ("keys", "clicks"))
    seconds = sum(answer.lead_time for answer in given) / images
    for name, value in (("seconds", seconds), ("keys", keys), ("clicks", clicks)):
        record_property(name, value)  # for `make bench`
    assert keys < 6
    assert clicks < 5
    assert [hand["clicks"] > 0 for hand in hands] == [True, False, True]


def area(*cells: tuple[int, int]) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for column, row in cells:
        mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
    return mask
