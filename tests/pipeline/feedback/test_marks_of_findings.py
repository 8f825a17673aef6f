"""A mark belongs to one finding: the penalty is on that finding's output alone, from the answer to the last layer."""

import dataclasses

import numpy as np
import pytest
import torch
from fakes import small
from fakes.queries import answer, manifest
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.arms.masktune import masktune
from pipeline.arms.placebos import placebo
from pipeline.config import Consensus, FeedbackSettings, Penalty
from pipeline.errors import DamagedFileError
from pipeline.feedback import masks
from pipeline.feedback.answers import to_entries
from pipeline.feedback.check import check
from pipeline.feedback.masks import Entry
from pipeline.feedback.penalty import penalty
from pipeline.training import states, trainer

NAMES = ["left", "right"]


class Halves(nn.Module):
    """The finding `left` reads the left half of an image only, and the finding `right` the right half."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x):
        halves = x.unflatten(-1, (2, -1)).mean(dim=(1, 2, 4))
        return self.scale * halves.square()


@pytest.fixture
def x():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def left():
    w = torch.zeros(2, 8, 8)
    w[..., :4] = 1
    return w


@pytest.mark.parametrize("output", ["predicted", "log-probs", "ce"])
def test_the_penalty_is_on_the_finding_of_the_mark_alone(x, left, output):
    labels = torch.tensor([[1, 0], [0, 1]])
    found = penalty(Halves(), x, left, form="eq2", output=output, labels=labels, finding=torch.tensor([0, 1]))
    assert found[0] > 0
    assert found[1] == 0, "a mark on the left half is no mark for the finding `right`"


def test_the_gradient_is_that_of_the_findings_logit_and_of_its_binary_cross_entropy(x, left):
    network, labels = Halves(), torch.tensor([[1, 0], [0, 1]])

    def by_hand(y):
        (gradient,) = torch.autograd.grad(y, leaf)
        return (left * gradient.square().sum(dim=1)).sum(dim=(1, 2))

    leaf = x.clone().requires_grad_()
    found = penalty(network, x, left, form="eq2", output="predicted", finding=torch.tensor([0, 0]))
    assert torch.allclose(found, by_hand(network(leaf)[:, 0].sum()))
    leaf = x.clone().requires_grad_()
    found = penalty(network, x, left, form="eq2", output="ce", labels=labels, finding=torch.tensor([0, 0]))
    ce = binary_cross_entropy_with_logits(network(leaf)[:, 0], labels[:, 0].float(), reduction="sum")
    assert torch.allclose(found, by_hand(ce))


@pytest.mark.parametrize("output", ["logits", "projection"])
def test_an_output_of_all_findings_is_refused(x, left, output):
    with pytest.raises(ValueError, match=r"mixes findings\. Fix: use predicted, log-probs, ce"):
        penalty(Halves(), x, left, form="eq2", output=output, finding=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="findings must be class numbers from 0 to 1"):
        penalty(Halves(), x, left, form="eq2", output="predicted", finding=torch.tensor([0, 2]))


def test_the_penalty_reaches_the_weights_of_its_finding_only(x, left):
    network = Halves()
    penalty(network, x, left, form="eq2", output="predicted", finding=torch.tensor([0, 0])).sum().backward()
    assert network.scale.grad[0] != 0
    assert network.scale.grad[1] == 0
    assert check(network, x, left, form="eq2", output="predicted", finding=torch.tensor([0, 0])).fast


@pytest.mark.parametrize("form", ["eq2", "eq2-mean", "share", "cosine", "late", "as-published"])
def test_every_form_takes_the_finding_of_a_mark(form):
    network, x = small.network(NAMES, findings=True), torch.rand(2, 3, small.SIZE, small.SIZE)
    network.network.classifier.weight.data *= 300
    w = torch.zeros(2, small.SIZE, small.SIZE)
    w[:, : small.SIZE // 2] = 1
    found = [penalty(network, x, w, form=form, output="predicted", finding=torch.full((2,), n)) for n in (0, 1)]
    assert all(torch.isfinite(one).all() and (one > 0).all() for one in found)
    assert torch.equal(*found) == (form == "as-published"), "the paper's code sums all logits, and reaches no weight"


def entry(image_id, finding, round="00"):
    mask = np.zeros((small.SIZE, small.SIZE), np.float32)
    mask[: small.SIZE // 2] = 1
    return Entry.of(round, image_id, mask, mask > 0, finding=finding)


def test_masks_keep_their_finding_in_the_file_and_files_of_classes_have_none(tmp_path):
    entries = [entry("a", "left"), entry("b", "right")]
    masks.write(tmp_path / "masks.npz", entries)
    assert masks.read(tmp_path / "masks.npz") == entries
    assert masks.findings(entries) == {"a": "left", "b": "right"}
    masks.write(tmp_path / "classes.npz", [entry("a", "")])
    assert "finding" not in np.load(tmp_path / "classes.npz")
    assert masks.read(tmp_path / "classes.npz") == [entry("a", "")]


def test_an_image_has_marks_of_one_finding_only():
    with pytest.raises(DamagedFileError, match="the masks of a belong to left in one round, and to right in another"):
        masks.findings([entry("a", "left"), entry("a", "right", "01")])


def test_an_answer_gives_a_mask_of_the_querys_finding(tmp_path):
    asked = manifest(tmp_path, 1)
    about = dataclasses.replace(asked, queries=(dataclasses.replace(asked.queries[0], finding="left"),))
    ((key, query),) = about.keys().items()
    (found,) = to_entries(about, [answer(key, {"c0r0"}, query)], Consensus())
    assert found.finding == "left"


@pytest.mark.parametrize("arm", ["random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published"])
def test_placebos_keep_the_finding_of_each_mask(arm):
    entries = [entry("a", "left"), entry("b", "right"), entry("c", "left", "01")]
    given = Penalty(form="eq2", output="predicted", weight=1.0)
    found, _ = placebo(arm, entries, penalty=given, cell=8, seed=0)
    assert [one.finding for one in found] == ["left", "right", "left"]


def trained(about, masked=4, folder=None, epochs=1, weight=10.0):
    images = small.findings(8)
    settings = small.scenario(FeedbackSettings())
    settings = settings.model_copy(update={"penalty": Penalty(form="share", output="predicted", weight=weight)})
    state = states.begin(small.network(NAMES, findings=True), settings.train)
    state.model.network.classifier.weight.data *= 1000
    history = trainer.train(
        state, {"train": images, "val": images}, settings, seed=0, epochs=epochs, step="00",
        masks=small.upper_half_masked(images, masked), about=about, checkpoint_dir=folder,
    )  # fmt: skip
    return history, torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


def of(name, count=4):
    return {f"image-{n}": name for n in range(count)}


def test_training_tells_the_findings_of_the_same_masks_apart(tmp_path):
    (history, left), (_, right) = trained(of("left")), trained(of("right"))
    assert history["penalty"].iloc[0] > 0
    assert not torch.equal(left, right)
    _, stored = trained(of("left"), folder=tmp_path)
    _, other = trained(of("right"), folder=tmp_path)
    assert torch.equal(stored, left)
    assert torch.equal(other, right), "no checkpoint of the other finding is resumed"


def test_a_mask_of_no_finding_is_refused():
    with pytest.raises(ValueError, match="the masks of 2 images belong to none of left, right"):
        trained(of("left", 2))


def test_masktune_is_about_the_least_certain_finding():
    images = small.findings(4)
    state = states.begin(small.network(NAMES, findings=True), small.TRAIN)
    assert {one.finding for one in masktune(state, images, round="00")} <= set(NAMES)
    classes = states.begin(small.network(NAMES), small.TRAIN)
    assert {one.finding for one in masktune(classes, small.images(4), round="00")} == {""}


def test_the_weight_that_is_chosen_weighs_the_penalty_against_the_loss_of_findings():
    history, _ = trained(of("left"), weight="auto")
    assert history["penalty_weight"].iloc[0] > 0
