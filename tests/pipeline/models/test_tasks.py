"""Tasks: findings against what PyTorch computes for sigmoids, and classes as they always were."""

import pytest
import torch
from fakes import small
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from pipeline.models import tasks
from pipeline.models.classifier import Deployed
from pipeline.models.tasks import CLASSES, FINDINGS


@pytest.fixture
def z():
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def there(z):
    return (torch.rand(z.shape, generator=torch.Generator().manual_seed(1)) < 0.3).long()


def test_the_labels_tell_the_task(z, there):
    assert tasks.of(there) is FINDINGS
    assert tasks.of(there[:, 0]) is CLASSES


def test_the_loss_of_findings_is_the_mean_binary_cross_entropy(z, there):
    wanted = binary_cross_entropy_with_logits(z, there.float(), reduction="none").mean(dim=1)
    assert torch.allclose(FINDINGS.losses(z, there), wanted)
    assert torch.allclose(FINDINGS.likelihood(z, there), (-wanted.double()).exp())


def test_the_loss_of_classes_is_the_same_bits_as_pytorchs(z):
    labels = torch.arange(20) % 3
    assert torch.equal(CLASSES.losses(z, labels), cross_entropy(z, labels, reduction="none"))
    assert torch.equal(CLASSES.likelihood(z, labels), z.double().softmax(dim=1)[range(20), labels])


def test_rare_findings_weigh_more_and_the_mean_weight_is_one():
    labels = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 1]])
    weights = FINDINGS.balance(labels)
    assert weights[:, 0].tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert weights.mean(dim=0).tolist() == pytest.approx([1, 1])
    weighted = binary_cross_entropy_with_logits(torch.ones(4, 2), labels.float(), reduction="none") * weights
    assert torch.allclose(FINDINGS.losses(torch.ones(4, 2), labels, weights), weighted.mean(dim=1))


def test_one_finding_is_weighed_as_two_classes_are():
    labels = torch.tensor([1, 0, 0, 0, 0])
    assert torch.equal(FINDINGS.balance(labels[:, None])[:, 0], CLASSES.balance(labels))


def test_a_finding_that_no_image_has_gets_a_weight_all_the_same():
    assert FINDINGS.balance(torch.zeros(4, 1, dtype=torch.long)).flatten().tolist() == [1] * 4


def test_the_least_certain_finding_is_explained():
    assert FINDINGS.explained(torch.tensor([[4.0, -0.1, 0.2], [0.0, 5.0, 5.0]])).tolist() == [1, 0]
    assert CLASSES.explained(torch.tensor([[4.0, -0.1, 0.2]])).tolist() == [0]


def test_a_prediction_of_findings_is_right_if_all_are():
    z, labels = torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1, 0], [1, 0]])
    assert FINDINGS.predicted(z).tolist() == [[1, 0], [1, 1]]
    assert FINDINGS.right(z, labels).tolist() == [True, False]


def test_the_divergence_is_that_of_independent_answers():
    p, q = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    wanted = 0.5 * (
        torch.tensor(0.5).log() - q.sigmoid()[0, 0].log() + torch.tensor(0.5).log() - (-q).sigmoid()[0, 0].log()
    )
    assert torch.allclose(FINDINGS.divergence(p, q), wanted)
    assert FINDINGS.divergence(p, p).abs() < 1e-6


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([[2, 0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0, 0]]), torch.tensor([1])],
)
def test_labels_that_are_no_findings_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels of findings must be 0 or 1, whole numbers \(N, 2\)"):
        FINDINGS.check(labels, 2)


def test_findings_are_no_labels_of_classes():
    with pytest.raises(ValueError, match=r"labels must be \(N,\)"):
        CLASSES.check(torch.tensor([[1, 0]]), 2)


def test_a_served_network_answers_with_a_sigmoid():
    network = small.network(["a", "b"], findings=True).eval()
    pictures = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    found = Deployed(network)(pictures)
    x = network.normalise(pictures.permute(0, 3, 1, 2).float() / 255)
    assert torch.allclose(found, network(x).sigmoid())
    assert not torch.allclose(found.sum(dim=1), torch.ones(2))
