"""Consensus: raw answers of several experts → W, where the model must not look and how much.

The raw answers are kept and every rule works on them, so a new rule costs no expert a minute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from labelstudio.exchange import geometry
from labelstudio.exchange.geometry import Mask
from labelstudio.exchange.records import AnnotationError, Answer, Query
from labelstudio.exchange.words import Rule, assert_known
from labelstudio.reading import marks
from labelstudio.reading.verdicts import Verdict, verdict


def weights(
    queries: dict[str, Query], answers: list[Answer], *, rule: Rule, soft: bool
) -> dict[str, npt.NDArray[np.float32]]:
    """Return W of each query with an answer.

    An expert who says where the evidence is disregards every other pixel (``marks.disregarded``). An answer that
    decides (see ``counted``) counts alone. Elsewhere, ``majority``, ``any`` and ``all`` count the experts who disregard
    a pixel, of all experts with an answer: more than half of them, at least one, or every one. A tie is no majority.
    ``dawid-skene`` (Dawid and Skene 1979, implemented by crowd-kit) estimates from the round's answers how reliable
    each expert is, and from this the probability that a proposal must not matter. Pixels outside the proposals, which
    only drawn regions reach, follow the majority.

    Args:
        queries: The round's queries by key.
        answers: Their answers; answers to other queries are ignored.
        rule: The rule for several experts.
        soft: If True, W is the share of the experts who marked the pixel, or Dawid and Skene's probability. If
            False, W is 1 where the rule, or a probability above one half, says so, and 0 elsewhere.

    Returns:
        W (height, width) by key, from 0 to 1.

    Raises:
        ValueError: The rule is unknown.
        AnnotationError: ``dawid-skene`` needs crowd-kit, which is not installed.
    """
    assert_known(rule, Rule, "rule")
    readings = {key: counted([answer for answer in answers if answer.key == key]) for key in queries}
    readings = {key: given for key, given in readings.items() if given}
    found = {}
    for key, given in readings.items():
        size = queries[key].width, queries[key].height
        counts, experts = votes(given, *size)
        found[key] = (counts / experts if soft else _decided(counts, experts, rule)).astype(np.float32)
    if rule == "dawid-skene":
        open_ones = {key: given for key, given in readings.items() if not given[0].decides}
        for key, probabilities in _dawid_skene(queries, open_ones).items():
            owner = geometry.owners(queries[key])
            values = probabilities if soft else probabilities > 0.5
            found[key][owner >= 0] = values[owner[owner >= 0]]
    return found


def with_evidence(queries: dict[str, Query], answers: list[Answer], *, rule: Rule) -> set[str]:
    """Return the keys of the queries whose evidence is known by this rule: experts have judged each of their pixels.

    ``dawid-skene`` counts as ``majority`` here. Raises ValueError if the rule is unknown.
    """
    assert_known(rule, Rule, "rule")
    found = set()
    for key, query in queries.items():
        given = counted([answer for answer in answers if answer.key == key])
        count = sum(marks.says_evidence(answer, query) for answer in given)
        if _decided(np.array(count), len(given), rule):
            found.add(key)
    return found


def disregarded(answers: list[Answer], width: int, height: int, *, rule: Rule = "majority") -> Mask:
    """Return the mask (height, width) of the pixels that the experts with an answer disregard, by this rule.

    Without an answer no pixel is disregarded. ``dawid-skene`` counts as ``majority`` here. Raises ValueError if the
    rule is unknown.
    """
    assert_known(rule, Rule, "rule")
    counts, experts = votes(answers, width, height)
    return _decided(counts, experts, rule)


def _decided(counts: npt.NDArray[np.int64], experts: int, rule: Rule) -> Mask:
    if rule == "any":
        return counts > 0
    if rule == "all":
        return (counts == experts) & (experts > 0)
    return 2 * counts > experts


def votes(answers: list[Answer], width: int, height: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return how many experts disregard each pixel (height, width), and how many experts answered."""
    readings = counted(answers)
    counts = np.zeros((height, width), dtype=np.int64)
    for answer in readings:
        counts += marks.disregarded(answer.result, width, height)[0]
    return counts, len(readings)


def judged(query: Query, answer: Answer) -> npt.NDArray[np.bool_]:
    """Return True for each of the query's proposals (P,) of which the expert disregards more than half of the pixels.

    The area decides, not the id: an expert may mark a proposal, draw over it, or say that the evidence is elsewhere.
    """
    marked = marks.disregarded(answer.result, query.width, query.height)[0]
    areas = [geometry.pixels(proposal, query.width, query.height) for proposal in query.proposals]
    return np.array([bool(marked[area].mean() > 0.5) for area in areas], bool)


def counted(answers: list[Answer]) -> list[Answer]:
    """Return the answers to one query that make its mask: the last decision alone, or else each expert's last answer.

    A decision "cannot judge" leaves none.
    """
    last = decision(answers)
    if last is None:
        return latest(answers)
    return [] if verdict(last) is Verdict.CANNOT_JUDGE else [last]


def decision(answers: list[Answer]) -> Answer | None:
    """Return the last of the answers to one query that decides it; None if none does. A skip decides nothing."""
    decisions = [answer for answer in answers if answer.decides and not answer.skipped]
    return max(decisions, key=Answer.version, default=None)


def latest(answers: list[Answer]) -> list[Answer]:
    """Return each expert's last answer to one query, sorted by expert.

    A skip is no answer, and a decision on a dispute is none either. An expert with the choice "cannot judge" has no
    vote.
    """
    if len({answer.key for answer in answers}) > 1:
        raise AnnotationError("answers to different queries cannot give one mask. Fix: call this once for each query.")
    answered = [answer for answer in answers if not answer.skipped and not answer.decides]
    last = {answer.expert: answer for answer in sorted(answered, key=Answer.version)}
    return [last[expert] for expert in sorted(last) if verdict(last[expert]) is not Verdict.CANNOT_JUDGE]


def _dawid_skene(queries: dict[str, Query], readings: dict[str, list[Answer]]) -> dict[str, npt.NDArray[Any]]:
    """The probability that each proposal (P,) must not matter, for each query with an answer."""
    try:
        import pandas as pd
        from crowdkit.aggregation import DawidSkene
    except ImportError as error:
        raise AnnotationError(
            "`consensus.rule: dawid-skene` needs crowd-kit, which is not installed. Fix: run `pip install -c "
            "constraints.txt '.[crowd]'`, or choose `majority`, `any` or `all` in params.yaml."
        ) from error
    tasks: dict[str, npt.NDArray[np.int_]] = {}  # by query, crowd-kit's task number of each proposal
    rows: list[tuple[int, str, int]] = []
    for key, given in readings.items():
        tasks[key] = sum(map(len, tasks.values())) + np.arange(len(queries[key].proposals))
        for answer in given:
            judgements = judged(queries[key], answer)
            rows += [(int(task), answer.expert, int(mark)) for task, mark in zip(tasks[key], judgements, strict=True)]
    if not rows:
        return {}
    table = pd.DataFrame(rows, columns=["task", "worker", "label"])
    probabilities = DawidSkene(n_iter=100).fit(table).probas_.reindex(columns=[0, 1], fill_value=0.0)
    return {key: probabilities.loc[numbers, 1].to_numpy() for key, numbers in tasks.items()}
