"""Every form of feedback: no effect without marks, an effect with them, the same in any slices, and resumable."""

import pytest
import torch
from fakes import killed, small

from pipeline.config import FeedbackSettings
from pipeline.data.loading import Images
from pipeline.training import states, trainer

FORMS = {
    "penalty": {},
    "late": {},
    "counterexamples": {"form": "counterexamples"},
    "consistency": {"form": "counterexamples", "share": 0.5, "consistency": 2.0},
}


def scenario(form, **train):
    settings = small.scenario(FeedbackSettings(**FORMS[form]), batchnorm="frozen", **train)
    late = {"form": "late"} if form == "late" else {}
    return settings.model_copy(update={"penalty": settings.penalty.model_copy(update=late)})


def train(data, settings, masks, epochs=1, folder=None):
    state = states.begin(small.network(["a", "b"]), settings.train)
    state.model.network.classifier.weight.data *= 1000  # a new layer hardly tells one image from another
    history = trainer.train(state, data, settings, seed=0, epochs=epochs, step="00", masks=masks, checkpoint_dir=folder)
    return history, torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


@pytest.mark.parametrize("form", FORMS)
def test_without_marks_training_is_as_without_feedback_and_with_them_it_is_not(data, masks, form):
    _, plain = train(data, scenario("penalty"), {})
    _, unmarked = train(data, scenario(form), {})
    assert torch.equal(unmarked, plain)
    _, marked = train(data, scenario(form), masks)
    assert not torch.equal(marked, plain)
    _, again = train(data, scenario(form), masks)
    assert torch.equal(again, marked)


@pytest.mark.parametrize("form", FORMS)
def test_slices_of_a_batch_come_to_the_same_step(data, masks, form):
    whole, one = train(data, scenario(form), masks)
    sliced, two = train(data, scenario(form, slices=3), masks)
    for reading in ("train_loss", "penalty", "penalised_fraction"):
        assert sliced[reading].tolist() == pytest.approx(whole[reading].tolist(), rel=1e-4)
    # By rounding alone, Adam moves a weight by up to 0.001 a step where the gradient is all but zero.
    assert float((one - two).square().mean().sqrt()) < 0.05 * 3 * 0.001


@pytest.mark.parametrize("form", FORMS)
def test_killed_between_epochs_it_ends_in_the_same_weights(data, masks, form, tmp_path, monkeypatch):
    _, straight = train(data, scenario(form), masks, epochs=3)
    killed.in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(data, scenario(form), masks, epochs=3, folder=tmp_path)
    history, resumed = train(data, scenario(form), masks, epochs=3, folder=tmp_path)
    assert len(history) == 3
    assert torch.equal(resumed, straight)


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_holds_on_all_copies_of_a_picture(data, masks, form):
    """Experts are asked on one copy; without its mask, the other would go on teaching what they disregarded."""
    images = data["train"]
    ids = [f"{n // 2:012x}{'-2' if n % 2 else ''}" for n in range(12)]
    copied = {"train": Images(ids, images.pixels[[n // 2 for n in range(12)]], images.labels[:6].repeat_interleave(2))}
    w = next(iter(masks.values()))
    _, on_one = train(data | copied, scenario(form), dict.fromkeys(ids[0:6:2], w))
    _, on_all = train(data | copied, scenario(form), dict.fromkeys(ids[:6], w))
    assert torch.equal(on_one, on_all)
