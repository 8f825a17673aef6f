"""Tasks: the meaning of a network's logits and labels.

- Classes: an image has one of C classes. Logits are (N, C), and labels (N,) are class numbers.
- Findings: each of k findings is there or not. Logits and labels are (N, k), and labels are 1 or 0. The probability of
  a finding is the sigmoid of its logit z. This equals a softmax over the logits (-z / 2, z / 2) of "it is not there"
  and "it is there", so both tasks answer questions by a softmax: one question an image, or k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.models import outputs


@dataclass(frozen=True)
class Task:
    """The only place where classes and findings differ in training; ``labels`` are numbers, as above."""

    findings: bool

    def check(self, labels: Tensor, logits: int) -> None:
        """Raise ValueError if labels do not fit a network with so many logits."""
        if not self.findings:
            if labels.ndim != 1:
                raise ValueError(f"labels must be (N,), but they are {outputs.words(labels)}. Fix: flatten them")
            return outputs.assert_labels(labels, logits)
        fits = labels.ndim == 2 and labels.shape[1] == logits
        if not fits or labels.is_floating_point() or not ((labels == 0) | (labels == 1)).all():
            raise ValueError(
                f"labels of findings must be 0 or 1, whole numbers (N, {logits}) for {logits} logits, but they are "
                f"{outputs.words(labels)}. Fix: give each finding a logit, and each image a 0 or 1 for it"
            )

    def answers(self, logits: Tensor) -> Tensor:
        """Return the logits of all answers to each question, (N, C) or (N, k, 2)."""
        return torch.stack([-logits / 2, logits / 2], dim=-1) if self.findings else logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class or finding, (N, C) or (N, k)."""
        return logits.sigmoid() if self.findings else logits.softmax(dim=1)

    def predicted(self, logits: Tensor) -> Tensor:
        """Return the prediction in the form of labels."""
        return (logits > 0).long() if self.findings else logits.argmax(dim=1)

    def explained(self, logits: Tensor) -> Tensor:
        """Return the number of the logit (N,) to explain: of the predicted class, or of the least certain finding."""
        return logits.abs().argmin(dim=1) if self.findings else logits.argmax(dim=1)

    def right(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return whether the whole prediction is right, (N,) bool: of findings, all of them."""
        return (self.predicted(logits) == labels).reshape(len(logits), -1).all(dim=1)

    def members(self, labels: Tensor, classes: int) -> Tensor:
        """Return whether each image has each class or finding, (N, C) or (N, k) bool."""
        return labels == 1 if self.findings else labels[:, None] == torch.arange(classes)

    def losses(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of each image (N,), nats: with findings, the mean of their binary cross-entropies.

        ``weights``, in the shape of the labels, multiply it label by label.
        """
        answers = self.answers(logits)
        losses = cross_entropy(answers.reshape(-1, answers.shape[-1]), labels.reshape(-1), reduction="none")
        if weights is not None:
            losses = losses * weights.to(losses).reshape(-1)
        return losses.reshape(len(logits), -1).mean(dim=1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of ``losses`` over all images."""
        answers = self.answers(logits)
        return cross_entropy(answers.reshape(-1, answers.shape[-1]), labels.reshape(-1))

    def balance(self, labels: Tensor) -> Tensor:
        """Return a weight for each label, larger for rare answers: N / (A n_a) of one of A answers with n_a images."""
        if self.findings:
            return torch.stack([CLASSES.balance(finding) for finding in labels.T], dim=1)
        counts = torch.bincount(labels)
        return (len(labels) / ((counts > 0).sum() * counts.clamp(min=1)))[labels]

    def likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of each image's label (N,); with findings, the geometric mean over them."""
        right = self.answers(logits.double()).softmax(dim=-1).gather(-1, labels[..., None])[..., 0]
        return right.log().mean(dim=1).exp() if self.findings else right

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """Return KL(p ‖ q) of the answers with these logits, summed over questions, (N,)."""
        log_p, log_q = (self.answers(z).log_softmax(dim=-1) for z in (logits, others))
        return (log_p.exp() * (log_p - log_q)).flatten(1).sum(dim=1)


CLASSES, FINDINGS = Task(findings=False), Task(findings=True)


def of(labels: Tensor) -> Task:
    """Return the task of labels: (N,) are classes, and (N, k) are findings."""
    return FINDINGS if labels.ndim == 2 else CLASSES
