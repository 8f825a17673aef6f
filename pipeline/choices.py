"""The words that params.yaml may hold, each spelled once. Imports nothing of the project, and no torch."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal, get_args

# Data
Fit = Literal["stretch", "crop"]
Duplicates = Literal["error", "drop"]
WeightsSource = Literal["package", "hub", "file", "random"]

# Training
BatchNorm = Literal["moving", "settled", "frozen"]
ClassBalance = Literal["none", "loss", "sampler"]
Precision = Literal["no", "bf16"]
Layers = Literal["all", "head"]

# The penalty (Eq. 2): the form of its term, and the output that is differentiated
Form = Literal["eq2", "eq2-mean", "share", "cosine", "late", "as-published"]
Output = Literal["logits", "log-probs", "predicted", "ce", "projection"]
OfFindings = Literal["predicted", "log-probs", "ce"]  # outputs that one finding has

# Forms of feedback, and what fills the marked areas of a counterexample
FeedbackForm = Literal["penalty", "counterexamples"]
Fill = Literal["another", "surround", "blur", "noise"]

# Queries
Strategy = Literal["entropy", "margin", "least-confident", "confident-mistakes", "spread-entropy", "random"]
Method = Literal["deeplift", "integrated-gradients", "input-x-gradient", "grad-cam"]
Reference = Literal["blur", "white", "black", "mean"]
Regions = Literal["grid", "blobs", "superpixels"]
Rank = Literal["absolute", "signed"]

# Experts
Expert = Literal["human", "simulated"]
Marks = Literal["irrelevant", "evidence"]
Rule = Literal["majority", "any", "all", "dawid-skene"]

# Arms
Placebo = Literal["random-mask", "shuffled-mask", "weight-decay", "oversample-only", "as-published"]
OfPenalty = Literal["weight-decay", "oversample-only", "as-published"]  # placebos that only the penalty has


def assert_known(given: object, kind: Any, name: str) -> None:
    """Raise ValueError, with the nearest word in its message, if ``given`` is no word of a choice of this module."""
    words = get_args(kind)
    if given not in words:
        raise ValueError(f"unknown {name} {given!r}. Fix: {nearest(given, words)}choose one of {', '.join(words)}")


def nearest(given: object, words: tuple[str, ...]) -> str:
    """Return the word that is nearest to a wrong one, as the start of a remedy; empty if none is near."""
    near = get_close_matches(str(given), words, n=1)
    return f"write {near[0]!r}, or " if near else ""
