"""The meaning of a scenario's result in words, worked out from its numbers."""

from __future__ import annotations

from pipeline.data.prepared import EXTERNAL
from pipeline.evaluation.predictions import Outcomes
from pipeline.evaluation.statistics import show, verdict
from pipeline.report.comparison import Result
from pipeline.report.tables import paired, rounded_p

WORTH_CORRECTING = 0.05  # share of accuracy lost; the percentage undone of a smaller loss would be noise


def sentences(name: str, result: Result) -> list[str]:
    """Return an introduction, then one sentence for each arm that trained as long as `hitl`: the difference to it.

    Each external test set has a sentence on the difference to `automated`.
    """
    scores, outcomes = result.scores, result.outcomes
    others = [arm for arm in scores if arm not in ("baseline", "hitl")]
    split = "test-shifted" if "test-shifted" in outcomes["automated"] else "test"
    against = [f"hitl against {arm}: {_difference(outcomes['hitl'][split], outcomes[arm][split])}." for arm in others]
    for external in (name for name in outcomes["hitl"] if name.startswith(EXTERNAL)):
        found = _difference(outcomes["hitl"][external], outcomes["automated"][external])
        against.append(f"On {external}, hitl against automated: {found}.")
    if split == "test":
        return [f"{name}: with {result.answers} answers from experts, on the test images:", *against]
    lost = {arm: scores[arm]["test_accuracy"] - scores[arm]["test-shifted_accuracy"] for arm in scores}
    first = (
        f"{name}: without feedback (automated), the network loses {100 * lost['automated']:.1f} points of accuracy "
        "between test and test-shifted, where the shortcut misleads. "
        f"With {result.answers} answers from experts (hitl), it loses {100 * lost['hitl']:.1f} points"
    )
    if lost["automated"] < WORTH_CORRECTING:
        return [f"{first}. The shortcut is too small to correct, so this result says nothing about feedback."]
    undone = {arm: f"{1 - lost[arm] / lost['automated']:.0%}" for arm in scores}
    placebos = "".join(f" The placebo {arm} undoes {undone[arm]}." for arm in others if arm != "automated")
    return [f"{first}: {undone['hitl']} of the harm is undone.{placebos} On test-shifted:", *against]


def markdown(sentences: list[str]) -> str:
    """Return the introduction and the list of differences as Markdown, with an empty line after them."""
    first, *others = sentences
    return "\n- ".join([f"{first}\n", *others]) + "\n\n"


def _difference(ours: Outcomes, theirs: Outcomes) -> str:
    accuracy, loss = paired(ours, theirs)
    return (
        f"accuracy {show(accuracy, scale=100, digits=1, sign=True)} points ({verdict(accuracy)}, "
        f"McNemar p {rounded_p(ours, theirs)}), "
        f"loss {show(loss, sign=True)}, {verdict(loss)}"  # a bracket after an interval makes it a link in Markdown
    )
