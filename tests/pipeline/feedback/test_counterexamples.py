"""Counterexamples: they change what the masks mark and nothing else, the same in any batch."""

from typing import get_args

import numpy as np
import pytest
import torch
from fakes import small
from torch.distributions import Categorical, kl_divergence

from pipeline.choices import Fill
from pipeline.config import FeedbackSettings
from pipeline.data.loading import Images, as_tensor
from pipeline.feedback.counterexamples import Counterexamples, DeadFeedbackError, softened
from pipeline.feedback.form import DRAWS
from pipeline.models.modes import in_eval

SIZE, COUNT = small.SIZE, 8
FILLS = get_args(Fill)


@pytest.fixture
def images():
    return small.images(COUNT)


@pytest.fixture
def masks(images):
    """The upper half of the first five images; the first one's is soft."""
    w = np.zeros((SIZE, SIZE), np.float32)
    w[: SIZE // 2] = 1
    return dict.fromkeys(images.ids[:5], w) | {images.ids[0]: 0.5 * w}


def made(images, masks, some, **settings):
    given = Counterexamples(masks, FeedbackSettings(form="counterexamples", **settings), images)
    draws = torch.rand(COUNT, DRAWS, generator=torch.Generator().manual_seed(0))
    originals = as_tensor(images.pixels[some])
    return originals, given.replace(originals, some, draws[some])


@pytest.mark.parametrize("fill", FILLS)
def test_only_marked_pixels_of_masked_images_change(images, masks, fill):
    originals, replaced = made(images, masks, list(range(COUNT)), fill=fill)
    changed = (replaced != originals).any(dim=1).float().mean(dim=(1, 2))
    assert (changed[:5] > 0.4).all(), "alive"
    torch.testing.assert_close(replaced[:, :, SIZE // 2 :], originals[:, :, SIZE // 2 :], rtol=0, atol=0)
    torch.testing.assert_close(replaced[5:], originals[5:], rtol=0, atol=0)
    assert replaced.min() >= 0
    assert replaced.max() <= 1


@pytest.mark.parametrize("fill", FILLS)
def test_a_counterexample_is_the_same_in_any_batch(images, masks, fill):
    _, together = made(images, masks, list(range(COUNT)), fill=fill)
    for some in ([3], [6, 2, 0]):
        _, alone = made(images, masks, some, fill=fill)
        torch.testing.assert_close(alone, together[some], rtol=0, atol=1e-6)


def test_another_image_shows_its_same_place(images, masks):
    _, replaced = made(images, masks, [1, 2], fill="another")
    everything = as_tensor(images.pixels)[:, :, : SIZE // 2]
    for position, found in zip([1, 2], replaced[:, :, : SIZE // 2], strict=True):
        (donor,) = [n for n in range(COUNT) if torch.equal(everything[n], found)]
        assert donor != position
    originals, soft = made(images, masks, [0], fill="another")
    donors = 2 * soft[0, :, : SIZE // 2] - originals[0, :, : SIZE // 2]
    assert any(torch.allclose(everything[n], donors, atol=1e-5) for n in range(1, COUNT))


def test_the_share_leaves_the_other_originals(images, masks):
    settings = FeedbackSettings(form="counterexamples", share=0.3)
    given = Counterexamples(masks, settings, images)
    draws = torch.rand(1000, DRAWS, generator=torch.Generator().manual_seed(0))
    originals = as_tensor(images.pixels[[1] * 1000])
    replaced = (given.replace(originals, [1] * 1000, draws) != originals).flatten(1).any(dim=1)
    assert 0.26 < replaced.float().mean() < 0.34


def test_soft_edges_stay_inside(masks):
    w = torch.from_numpy(np.stack(list(masks.values())))
    soft = softened(w, 0.1)
    assert (soft <= w).all()
    assert ((soft > 0.1) & (soft < 0.9) & (w == 1)).any()
    torch.testing.assert_close(softened(w, 0.0), w)


def test_masks_of_no_training_image_are_refused(images, masks):
    settings = FeedbackSettings(form="counterexamples")
    Counterexamples(masks, settings, images).check()
    strangers = {"somebody-else": masks[images.ids[0]]}
    flat = Images(images.ids, np.full_like(images.pixels, 7), images.labels)
    for given, shown in ((strangers, images), (masks, flat)):
        with pytest.raises(DeadFeedbackError, match="change no pixel"):
            Counterexamples(given, settings, shown).check()


def test_consistency_is_the_divergence_of_original_and_counterexample(images, masks):
    settings = FeedbackSettings(form="counterexamples", share=0.1, fill="blur", consistency=3.0)
    given = Counterexamples(masks, settings, images, as_input=lambda x: 2 * x - 1)
    model = small.network(["a", "b"])
    model.network.classifier.weight.data *= 1000  # a new layer hardly tells one image from another
    assert given.next_step(model, [6, 7]) is None, "no image of the batch has a mask"
    step = given.next_step(model, [6, 1, 4])
    assert (step.images, step.weight) == ([1, 4], 3.0)
    found = given.penalties(model, step, [0, 1])
    originals = as_tensor(images.pixels[[1, 4]])
    filled = given.replace(originals, [1, 4], torch.zeros(2, DRAWS))
    with in_eval(model):
        p, q = (Categorical(logits=model(2 * x - 1)) for x in (originals, filled))
    torch.testing.assert_close(found, kl_divergence(p, q), rtol=1e-4, atol=1e-7)
    assert (found > 0).all()
    assert found.requires_grad
    assert Counterexamples(masks, FeedbackSettings(form="counterexamples"), images).next_step(model, [1]) is None


def test_consistency_without_counterexamples_is_refused():
    with pytest.raises(ValueError, match="`consistency` needs counterexamples"):
        FeedbackSettings(consistency=1.0)
