"""The placebos: what each keeps of `hitl`, and what it takes away."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.arms.placebos import placebo
from pipeline.config import Penalty
from pipeline.errors import ConfigError
from pipeline.feedback.masks import Entry, in_force

EQ2 = Penalty(form="eq2", output="logits", weight=0.5)
SHARE = Penalty(form="share", output="logits", weight=10.0)


def entry(round, image_id, width, weight=1.0):
    """Of a 20 x 20 image, so many columns on the left are marked."""
    mask = np.zeros((20, 20), np.float32)
    mask[:, :width] = weight
    return Entry.of(round, image_id, mask, np.ones((20, 20), bool))


ENTRIES = [entry("00", "a", 4), entry("00", "b", 0), entry("01", "c", 8), entry("01", "d", 12), entry("02", "a", 2)]


@pytest.mark.parametrize("arm", ["random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published"])
def test_every_placebo_has_the_same_images_in_the_same_rounds_whenever_it_is_made(arm):
    made, penalty = placebo(arm, ENTRIES, penalty=EQ2, cell=4, seed=0)
    assert [(e.round, e.image_id) for e in made] == [(e.round, e.image_id) for e in ENTRIES]
    assert [e.mask.any() for e in made] == [e.mask.any() for e in ENTRIES]
    again, same = placebo(arm, ENTRIES, penalty=EQ2, cell=4, seed=0)
    assert penalty == same
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(made, again, strict=True))


def test_random_masks_are_as_many_cells_elsewhere():
    made, penalty = placebo("random-mask", ENTRIES, penalty=EQ2, cell=4, seed=0)
    assert penalty == EQ2
    for real, fake in zip(ENTRIES[:4], made, strict=False):
        assert fake.mask.sum() == real.mask.sum()
        cells = fake.mask.reshape(5, 4, 5, 4).transpose(0, 2, 1, 3).reshape(25, 16)
        assert set(cells.sum(axis=1)) <= {0, 16}
    assert not np.array_equal(made[0].mask, ENTRIES[0].mask)
    (uneven,), _ = placebo("random-mask", ENTRIES[:1], penalty=EQ2, cell=6, seed=0)  # blobs need not divide the image
    assert uneven.mask.shape == (20, 20)
    assert uneven.mask.sum() == 6 * 6 * round(ENTRIES[0].mask.sum() / 6**2)


def test_random_masks_weigh_what_the_experts_share_does():
    soft = entry("00", "a", 4, weight=1 / 3)
    (made,), _ = placebo("random-mask", [soft], penalty=EQ2, cell=4, seed=0)
    assert made.mask.sum() == pytest.approx(soft.mask.sum())
    assert set(made.mask.ravel().tolist()) == {0.0, soft.mask.max()}


def spread(round, image_id, width):
    return replace(entry(round, image_id, width), kind="spread")


def test_random_places_of_spread_masks_stay_from_round_to_round():
    rounds = [spread("00", "a", 4), spread("00", "b", 8), spread("01", "b", 12), spread("01", "a", 4)]
    (a, b, more_b, same_a), _ = placebo("random-mask", rounds, penalty=EQ2, cell=4, seed=0)
    assert np.array_equal(a.mask, same_a.mask)
    assert (b.mask <= more_b.mask).all()
    assert [e.mask.sum() for e in (a, b, more_b)] == [e.mask.sum() for e in rounds[:3]]
    assert {e.kind for e in (a, b)} == {"spread"}


def test_spread_masks_are_shuffled_within_their_round():
    rounds = [*ENTRIES, *[spread(n, name, width) for n in ("03", "04") for name, width in (("e", 4), ("f", 8))]]
    made, _ = placebo("shuffled-mask", rounds, penalty=EQ2, cell=4, seed=0)
    assert [e.mask.sum() for e in made[-4:]] == [8 * 20, 4 * 20] * 2
    assert [e.image_id for e in made] == [e.image_id for e in rounds]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_masks_are_all_there_and_each_on_another_image(seed):
    made, penalty = placebo("shuffled-mask", ENTRIES, penalty=EQ2, cell=4, seed=seed)
    assert penalty == EQ2
    assert sorted(e.mask.sum() for e in made) == sorted(e.mask.sum() for e in ENTRIES)
    own = {image_id: {e.mask.sum() for e in ENTRIES if e.image_id == image_id} for image_id in "acd"}
    assert all(e.mask.sum() not in own[e.image_id] for e in made if e.mask.any())


def test_masks_of_a_single_image_cannot_be_shuffled():
    with pytest.raises(ConfigError, match=r"hitl\.placebos"):
        placebo("shuffled-mask", [ENTRIES[0], ENTRIES[1], ENTRIES[4]], penalty=EQ2, cell=4, seed=0)


def test_weight_decay_is_as_much_w_on_every_pixel():
    made, penalty = placebo("weight-decay", ENTRIES, penalty=EQ2, cell=4, seed=0)
    assert penalty == EQ2
    assert all(np.ptp(e.mask) == 0 for e in made)
    whole, even = in_force(ENTRIES), in_force(made)
    assert {i: pytest.approx(w.sum()) for i, w in whole.items()} == {i: w.sum() for i, w in even.items()}
    evidence = np.zeros((20, 20), bool)
    evidence[:, :15] = True  # with all earlier marks in it
    later = [*ENTRIES, Entry.of("03", "a", ~evidence, evidence | ~evidence, kind="evidence")]
    made, _ = placebo("weight-decay", later, penalty=EQ2, cell=4, seed=0)
    assert in_force(made)["a"].sum() == pytest.approx(5 * 20)
    _, scaled = placebo("weight-decay", ENTRIES, penalty=SHARE, cell=4, seed=0)  # a share of everything would be dead
    assert (scaled.form, scaled.weight) == ("eq2", "auto")


def test_the_other_two_keep_the_masks_and_take_the_penalty_away():
    made, only_more_often = placebo("oversample-only", ENTRIES, penalty=EQ2, cell=4, seed=0)
    assert made == ENTRIES
    assert (only_more_often.weight, only_more_often.oversample) == (0, 2)
    made, dead = placebo("as-published", ENTRIES, penalty=SHARE, cell=4, seed=0)
    assert made == ENTRIES
    assert dead == SHARE.model_copy(update={"form": "as-published"})
