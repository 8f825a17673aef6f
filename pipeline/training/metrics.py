"""Metrics of a classifier: pure functions from logits to (name, value).

In all of them, ``logits`` is (N, C) and ``labels`` (N,) holds class numbers in the order of the columns. Fewer than
two classes, and labels that are no class number, are a ValueError. With findings, both are (N, k), and labels are 0 or
1 (``pipeline.models.tasks``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from pipeline.models import tasks

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

    With findings, ``accuracy`` is the share of images with all findings right, and all others are means over findings
    of "it is there" against "it is not": ``loss``, ``balanced_accuracy``, ``ece``, and the metrics of ``by_class``.
    """
    task = tasks.of(labels)
    task.check(labels, logits.shape[1])
    if task is tasks.FINDINGS:
        yield from _of_findings(logits, labels)
        return
    # Imported late: scikit-learn takes a second, and the first metrics are read after the first epoch.
    from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score, roc_auc_score

    probabilities = logits.double().softmax(dim=1).numpy()
    true, read = labels.numpy(), logits.argmax(dim=1).numpy()
    classes = np.arange(logits.shape[1])
    yield "loss", float(task.loss(logits.double(), labels))
    yield "accuracy", float(accuracy_score(true, read))
    yield "balanced_accuracy", float(recall_score(true, read, labels=np.unique(true), average="macro"))
    if len(np.unique(true)) == len(classes):
        scores = probabilities[:, 1] if len(classes) == 2 else probabilities
        yield "auc", float(roc_auc_score(true, scores, multi_class="ovr", labels=classes))
    if len(classes) > 2 and len(np.union1d(true, read)) > 1:
        yield "kappa", float(cohen_kappa_score(true, read, labels=classes, weights="quadratic"))
    yield "ece", _calibration_error(probabilities.max(axis=1), true == read)


def by_class(logits: Tensor, labels: Tensor, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield ``recall_<class>`` of each class that occurs, 0..1; of each finding also ``precision``, ``auc`` and more.

    The precision of a finding that is never predicted is 0. ``auc`` and ``average_precision`` are left out where a
    finding occurs in all images.
    """
    from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

    task = tasks.of(labels)
    task.check(labels, logits.shape[1])
    true, read = labels.numpy(), task.predicted(logits).numpy()
    if task is tasks.CLASSES:
        occurring = np.unique(true)
        recalls = recall_score(true, read, labels=occurring, average=None)
        yield from ((f"recall_{names[c]}", float(recall)) for c, recall in zip(occurring, recalls, strict=True))
        return
    for y, predicted, z, name in zip(true.T, read.T, logits.double().numpy().T, names, strict=True):
        if y.any():
            yield f"recall_{name}", float(recall_score(y, predicted))
            yield f"precision_{name}", float(precision_score(y, predicted, zero_division=0.0))
        if y.any() and not y.all():
            yield f"auc_{name}", float(roc_auc_score(y, z))
            yield f"average_precision_{name}", float(average_precision_score(y, z))


def _of_findings(logits: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    from sklearn.metrics import recall_score

    task, names = tasks.FINDINGS, [str(n) for n in range(logits.shape[1])]
    right = task.predicted(logits) == labels
    yield "loss", float(task.loss(logits.double(), labels))
    yield "accuracy", float(task.right(logits, labels).double().mean())
    pairs = zip(labels.numpy().T, task.predicted(logits).numpy().T, strict=True)
    balanced = [recall_score(y, read, labels=np.unique(y), average="macro") for y, read in pairs]
    yield "balanced_accuracy", float(np.mean(balanced))
    found = dict(by_class(logits, labels, names))
    for metric in ("auc", "average_precision", "recall", "precision"):
        values = [found[f"{metric}_{name}"] for name in names if f"{metric}_{name}" in found]
        if len(values) == len(names):
            yield metric, float(np.mean(values))
    sure = task.answers(logits.double()).softmax(dim=-1).amax(dim=-1)
    errors = [_calibration_error(p, r) for p, r in zip(sure.numpy().T, right.numpy().T, strict=True)]
    yield "ece", float(np.mean(errors))


def worst_group(logits: Tensor, labels: Tensor, groups: Sequence[int | None]) -> Iterator[tuple[str, float]]:
    """Yield ``worst_group_accuracy``, 0..1: the lowest of all groups with at least ten images, if there are any."""
    task = tasks.of(labels)
    task.check(labels, logits.shape[1])
    grouped = np.array([group is not None for group in groups])
    right = task.right(logits, labels).numpy()[grouped]
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
    without a value. The accuracy of a finding is the share of the images with it in which it is predicted.
    """
    from sklearn.metrics import roc_auc_score

    task = tasks.of(labels)
    task.check(labels, logits.shape[1])
    classes = logits.shape[1]
    of_class = task.members(labels, classes).numpy()
    right = (task.members(task.predicted(logits), classes).numpy() & of_class).T
    found, weights = [], np.zeros(len(labels))
    known = sorted({value for value in values if value is not None})
    for value in known:
        has = np.array([one == value for one in values])
        for name, class_members, right_members in zip(names, of_class.T, right, strict=True):
            members = has & class_members
            if members.sum() >= SMALLEST_GROUP:
                found.append((f"accuracy_{value.replace(' ', '-')}_{name}", float(right_members[members].mean())))
                weights[members] = 1 / members.sum()
    yield from found
    if found:
        yield f"worst_{attribute}_accuracy", min(accuracy for _, accuracy in found)
    counted = weights > 0
    if task is tasks.CLASSES and len(names) == 2 and known and len(found) == 2 * len(known):
        scores = (logits[:, 1] - logits[:, 0]).double().numpy()
        auc = roc_auc_score(labels.numpy()[counted], scores[counted], sample_weight=weights[counted])
        yield f"balanced_{attribute}_auc", float(auc)


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float((confidence[bins == b] - right[bins == b]).sum())) for b in np.unique(bins)]
    return sum(gaps) / len(confidence)
