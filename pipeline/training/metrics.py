"""Metrics of a classifier: pure functions from logits to (name, value).

In all of them, ``logits`` is (N, C) and ``labels`` (N,) holds class numbers in the order of the columns. Fewer than
two classes, and labels that are no class number, are a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.models import outputs

BINS = 15  # as in Guo et al. 2017
SMALLEST_GROUP = 10  # images; the accuracy of a smaller group is noise


def classification(logits: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """Yield the metrics that are read after every epoch, on one split.

    - ``loss``: mean CE, nats.
    - ``accuracy`` and ``balanced_accuracy`` (the mean recall of the classes that occur), 0..1.
    - ``auc``: area under the ROC curve; with more than two classes, the mean over classes of each class against the
      rest. It is left out where a class does not occur.
    - ``kappa``: Cohen's kappa with quadratic weights, for graded classes: only with more than two classes, of which two
      occur.
    - ``ece``: expected calibration error of the predicted class's probability, in 15 equal bins (Guo et al. 2017,
      *On Calibration of Modern Neural Networks*, https://arxiv.org/abs/1706.04599).
    """
    # Imported late: scikit-learn takes a second, and the first metrics are read after the first epoch.
    from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score, roc_auc_score

    outputs.assert_labels(labels, logits.shape[1])
    probabilities = logits.double().softmax(dim=1).numpy()
    true, read = labels.numpy(), logits.argmax(dim=1).numpy()
    classes = np.arange(logits.shape[1])
    yield "loss", float(cross_entropy(logits.double(), labels))
    yield "accuracy", float(accuracy_score(true, read))
    yield "balanced_accuracy", float(recall_score(true, read, labels=np.unique(true), average="macro"))
    if len(np.unique(true)) == len(classes):
        scores = probabilities[:, 1] if len(classes) == 2 else probabilities
        yield "auc", float(roc_auc_score(true, scores, multi_class="ovr", labels=classes))
    if len(classes) > 2 and len(np.union1d(true, read)) > 1:
        yield "kappa", float(cohen_kappa_score(true, read, labels=classes, weights="quadratic"))
    yield "ece", _calibration_error(probabilities.max(axis=1), true == read)


def by_class(logits: Tensor, labels: Tensor, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield ``recall_<class>`` of each class that occurs, 0..1."""
    from sklearn.metrics import recall_score

    outputs.assert_labels(labels, logits.shape[1])
    true, read = labels.numpy(), logits.argmax(dim=1).numpy()
    occurring = np.unique(true)
    recalls = recall_score(true, read, labels=occurring, average=None)
    yield from ((f"recall_{names[c]}", float(recall)) for c, recall in zip(occurring, recalls, strict=True))


def worst_group(logits: Tensor, labels: Tensor, groups: Sequence[int | None]) -> Iterator[tuple[str, float]]:
    """Yield ``worst_group_accuracy``, 0..1: the lowest of all groups with at least ten images, if there are any."""
    outputs.assert_labels(labels, logits.shape[1])
    grouped = np.array([group is not None for group in groups])
    right = (logits.argmax(dim=1) == labels).numpy()[grouped]
    _, member = np.unique([group for group in groups if group is not None], return_inverse=True)
    sizes = np.bincount(member)
    accuracies = np.bincount(member, weights=right)[sizes >= SMALLEST_GROUP] / sizes[sizes >= SMALLEST_GROUP]
    if len(accuracies):
        yield "worst_group_accuracy", float(accuracies.min())


def by_attribute(
    logits: Tensor, labels: Tensor, names: Sequence[str], *, attribute: str, values: Sequence[str | None]
) -> Iterator[tuple[str, float]]:
    """Yield the accuracy of each combination of an attribute's value and a class, and the lowest of them, 0..1.

    The names are ``accuracy_<value>_<class>`` and ``worst_<attribute>_accuracy``. With two classes,
    ``balanced_<attribute>_auc`` is the AUC with an equal weight for each combination, if none is left out: the
    attribute then says nothing about the class. Combinations of fewer than ten images are left out, and so are images
    without a value.
    """
    from sklearn.metrics import roc_auc_score

    outputs.assert_labels(labels, logits.shape[1])
    right, true = (logits.argmax(dim=1) == labels).numpy(), labels.numpy()
    found, weights = [], np.zeros(len(true))
    known = sorted({value for value in values if value is not None})
    for value in known:
        has = np.array([one == value for one in values])
        for number, name in enumerate(names):
            members = has & (true == number)
            if members.sum() >= SMALLEST_GROUP:
                found.append((f"accuracy_{value.replace(' ', '-')}_{name}", float(right[members].mean())))
                weights[members] = 1 / members.sum()
    yield from found
    if found:
        yield f"worst_{attribute}_accuracy", min(accuracy for _, accuracy in found)
    counted = weights > 0
    if len(names) == 2 and known and len(found) == 2 * len(known):
        scores = (logits[:, 1] - logits[:, 0]).double().numpy()
        auc = roc_auc_score(true[counted], scores[counted], sample_weight=weights[counted])
        yield f"balanced_{attribute}_auc", float(auc)


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float((confidence[bins == b] - right[bins == b]).sum())) for b in np.unique(bins)]
    return sum(gaps) / len(confidence)
