"""The penalty in fewer steps, on fewer images, or on masked images that come more often."""

import pytest
from fakes import small

from pipeline.config import Penalty
from pipeline.feedback.check import Check
from pipeline.training import states, trainer
from pipeline.training.epoch import draw_batches, train_epoch

PENALTY = Penalty(form="share", output="logits", weight=10.0)


@pytest.fixture
def images():
    return small.images(12)


@pytest.fixture
def masks(images):
    return small.upper_half_masked(images, 6)


def fresh() -> states.State:
    return states.begin(small.network(["left", "right"]), small.TRAIN)


def spent(images, masks, **how):
    """Each image's weight in the steps of one epoch, and the steps that penalise nothing."""
    settings = PENALTY.model_copy(update=how)
    given = trainer.feedback_on(fresh(), images, settings, masks)
    given.first_check = Check(norm=1.0, cosine=1.0, fast=True)
    found = [given.next_step(None, batch) for batch in ([0, 6, 1, 2], [7, 8, 9], [3, 10, 4, 5], [0, 1, 2, 3])]
    return [None if one is None else (one.images, one.weight) for one in found]


def test_spending_less_leaves_out_steps_or_images_and_makes_up_for_it_by_weight(images, masks):
    everything = [([0, 1, 2], 10.0), None, ([3, 4, 5], 10.0), ([0, 1, 2, 3], 10.0)]
    assert spent(images, masks) == everything
    assert spent(images, masks, every=2) == [([0, 1, 2], 20.0), None, ([3, 4, 5], 20.0), None]
    sampled = spent(images, masks, sample=1)
    assert [len(one[0]) for one in sampled if one] == [1, 1, 1]
    assert [one[1] for one in sampled if one] == [30.0, 30.0, 40.0]
    assert spent(images, masks, sample=4) == everything


def test_masked_images_come_more_often_when_told_to(images, masks):
    given = trainer.feedback_on(fresh(), images, PENALTY.model_copy(update={"oversample": 3}), masks)
    _, batches = draw_batches(images.labels, small.TRAIN, given.occurrences())
    order = [i for batch in batches for i in batch]
    assert [order.count(i) for i in range(12)] == [3] * 6 + [1] * 6


def test_masked_images_may_come_more_often_without_a_penalty(images, masks):
    only = PENALTY.model_copy(update={"weight": 0.0, "oversample": 2})
    state = fresh()
    given = trainer.feedback_on(state, images, only, masks)
    row = train_epoch(state, images, small.TRAIN, seed=0, freeze_batchnorm=False, feedback=given)
    assert row["penalised_fraction"] == row["penalty"] == row["penalty_weight"] == 0
    assert given.occurrences().tolist() == [2] * 6 + [1] * 6
    assert trainer.feedback_on(fresh(), images, only.model_copy(update={"oversample": 1}), masks) is None
