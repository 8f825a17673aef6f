"""Spreading: marks reach images that nobody was asked about, and only where experts' marks can be predicted."""

import re

import numpy as np
import pytest
import torch

from pipeline.config import Backbone
from pipeline.data.loading import Images
from pipeline.feedback import spreading
from pipeline.feedback.cells import FEATURES, Grid, features, judged_cells
from pipeline.feedback.masks import Entry, in_force
from pipeline.feedback.skill import Skill, curve
from pipeline.models import backbones, classifier

SIZE, CELL, COUNT = 32, 8, 40


@pytest.fixture(scope="module")
def network():
    weights = backbones.pretrained("x", Backbone(architecture="tf_efficientnet_lite0", weights="random"), seed=0)
    return classifier.build(weights, ["a", "b"])


@pytest.fixture(scope="module")
def images():
    """Noise, and in each image two bright cells; what is bright must not matter."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    for n in range(COUNT):
        for cell in rng.choice(16, 2, replace=False):
            pixels[n][bright(cell)] += 140
    return Images([f"image-{n}" for n in range(COUNT)], pixels, torch.arange(COUNT) % 2)


def bright(cell):
    return Grid.of(SIZE, CELL).area(np.arange(16) == cell, SIZE)


def truth(images, n):
    return images.pixels[n].mean(axis=2) > 110


def answers(images, count, shown=10, wrong=0.0, kind="judged"):
    """An expert's answers on the first images, about some of their cells."""
    rng, grid = np.random.default_rng(1), Grid.of(SIZE, CELL)
    entries = []
    for n in range(count):
        asked = grid.area(np.isin(np.arange(16), rng.choice(16, shown, replace=False)), SIZE)
        marks = grid.area(grid.shares(truth(images, n)) > 0.5, SIZE) & asked
        if rng.random() < wrong:
            marks = asked & ~marks
        entries.append(Entry.of("00", images.ids[n], marks, asked, kind=kind))
    return entries


def learn(entries, images, network, precision=0.9):
    cells = judged_cells(entries, images, network, cell=CELL)
    return spreading.learn(cells, images, precision=precision)


def test_a_few_answers_mark_the_same_things_on_all_other_images(images, network):
    entries = answers(images, 15)
    spreader = learn(entries, images, network)
    assert spreader.skill.auc[1] > 0.9
    assert spreader.skill.precision >= 0.9
    asked = {entry.image_id for entry in entries}
    spread = spreader.entries("00", images, asked=asked)
    assert asked.isdisjoint(entry.image_id for entry in spread)
    assert {entry.kind for entry in spread} == {"spread"}
    assert len(spread) >= 20
    right = [(entry.mask * truth(images, int(entry.image_id[6:]))).sum() for entry in spread]
    assert sum(right) / sum(entry.mask.sum() for entry in spread) > 0.7  # a bright cell has dark pixels too
    again = learn(entries, images, network).entries("00", images, asked=asked)
    assert [entry.packed_mask for entry in again] == [entry.packed_mask for entry in spread]


def test_what_is_believed_is_what_experts_would_rather_mark_than_not(images, network):
    entries = answers(images, 15)
    spreader = learn(entries, images, network)
    others = images.ids[15:]
    believed = spreader.believed(images, others)
    assert list(believed) == others
    grid = Grid.of(SIZE, CELL)
    found = np.array([grid.shares(believed[image_id]) for image_id in others])
    marks = np.array([grid.shares(truth(images, int(image_id[6:]))) > 0.5 for image_id in others])
    assert set(found.ravel()) <= {0.0, 1.0}
    assert ((found > 0.5) == marks).mean() > 0.9
    assert learn(answers(images, 1), images, network).believed(images, others) == {}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"count": 0}, "no answers"),
        ({"count": 4}, "are needed"),
        ({"count": 20, "wrong": 0.5}, "no skill|no limit"),
        ({"count": 20, "kind": "unclear"}, "no answers"),
    ],
)
def test_without_skill_nothing_is_spread_and_the_reason_is_given(images, network, made, says):
    spreader = learn(answers(images, **made), images, network)
    assert spreader.skill.limit is None
    assert spreader.entries("00", images, asked=[]) == []
    assert re.search(says, spreader.skill.words()), spreader.skill.words()


def test_evidence_makes_every_cell_of_its_image_known(images, network):
    """A cell on the evidence is a negative, and any other cell is a positive, shown or not."""
    whole, entries = np.ones((SIZE, SIZE), bool), []
    for n in range(12):
        irrelevant = Grid.of(SIZE, CELL).area(Grid.of(SIZE, CELL).shares(truth(images, n)) > 0.5, SIZE)
        entries.append(Entry.of("00", images.ids[n], irrelevant, whole, kind="evidence"))
    cells = judged_cells(entries, images, network, cell=CELL)
    assert len(cells.marked) == 12 * 16
    grid = Grid.of(SIZE, CELL)
    expected = np.concatenate([grid.shares(truth(images, n)) > 0.5 for n in range(12)])
    np.testing.assert_array_equal(cells.marked, expected)
    spread = learn(entries, images, network).entries("00", images, asked=[entry.image_id for entry in entries])
    assert len(spread) >= 20


class Told:
    """A model that is told the probability of each cell, as a function of its inputs."""

    def __init__(self, of):
        self.of = of

    def predict_proba(self, cells):
        marked = self.of(cells)
        return np.stack([1 - marked, marked], axis=1)


def test_the_doubt_of_an_image_is_the_mean_entropy_of_its_cells(images, network):
    cells = judged_cells(answers(images, 1), images, network, cell=CELL)
    upper = Told(lambda place: np.where(place[:, 0] < 0, 0.5, 1.0))  # undecided in the upper half, certain below
    same = Told(lambda logits: 1 / (1 + np.exp(-logits[:, 0])))
    modest = Told(lambda logits: 1 / (1 + np.exp(-logits[:, 0] - 1)))
    for scale, expected in ((same, 0.5), (modest, 0.5 * 0.8400)):  # the entropy of 0.7311, in bits
        spreader = spreading.Spreader(cells, Skill(1, 10, inputs=("place",)), upper, scale)
        np.testing.assert_allclose(spreader.doubt(images), np.full(COUNT, expected), atol=1e-4)


def test_a_spreader_without_skill_has_no_doubt_to_tell(images, network):
    assert learn(answers(images, 4), images, network).doubt(images) is None
    hopeless = learn(answers(images, 30, wrong=0.1), images, network, precision=1.0)
    assert hopeless.skill.limit is None, "nothing is spread"
    doubt = hopeless.doubt(images)
    assert doubt.shape == (COUNT,)
    assert 0 < doubt.min() < doubt.max() <= 1
    np.testing.assert_array_equal(doubt, hopeless.doubt(images))


def test_a_higher_precision_reaches_fewer_cells(images, network):
    entries = answers(images, 20, wrong=0.1)
    skills = [learn(entries, images, network, precision=p).skill for p in (0.5, 0.8)]
    assert skills[0].limit <= skills[1].limit
    assert skills[0].recall >= skills[1].recall
    for skill, precision in zip(skills, (0.5, 0.8), strict=True):
        assert skill.precision >= precision


def test_the_curve_has_the_skill_of_the_first_answers(images, network):
    found = curve(judged_cells(answers(images, 30), images, network, cell=CELL))
    assert [count for count, _ in found] == [10, 20, 30]
    assert all(0.8 < auc <= 1 for _, auc in found)


def test_cells_are_read_in_their_order(images, network):
    grid = Grid.of(SIZE, CELL)
    found = features(network, images.pixels[:3], grid)
    assert set(found) == set(FEATURES)
    assert {values.shape[:2] for values in found.values()} == {(3, 16)}
    red = found["colour"][0, :, 0]
    np.testing.assert_allclose(red, grid.shares(images.pixels[0, ..., 0] / 255), rtol=1e-5)
    assert found["place"][0, 1].tolist() == [-0.75, -0.25, pytest.approx(np.hypot(0.75, 0.25))]
    chosen = np.arange(16) == 6
    assert np.argwhere(grid.area(chosen, SIZE))[0].tolist() == [8, 16]
    np.testing.assert_array_equal(grid.shares(grid.area(chosen, SIZE)), chosen)


def test_what_is_spread_holds_until_the_next_round_or_an_answer():
    one, two = np.eye(8, dtype=bool), np.ones((8, 8), bool)
    nothing = np.zeros((8, 8), bool)
    entries = [
        Entry.of("00", "a", one, two),
        Entry.of("00", "b", two, nothing, kind="spread"),
        Entry.of("00", "c", two, nothing, kind="spread"),
        Entry.of("01", "b", nothing, two),
        Entry.of("01", "d", one, nothing, kind="spread"),
    ]
    first = in_force([entry for entry in entries if entry.round == "00"])
    assert set(first) == {"a", "b", "c"}
    later = in_force(entries)
    assert set(later) == {"a", "d"}  # b was judged, and c is no longer marked
