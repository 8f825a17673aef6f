"""Raw answers → W: where the model must not look, and how much.

Reading answers anew costs nobody a minute: the raw answers are kept, and every rule here works on them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from labelstudio.exchange import regions
from labelstudio.exchange.records import AnnotationError, Answer, Query
from labelstudio.reading.verdicts import Verdict, verdict

Rule = Literal["majority", "any", "all", "dawid-skene"]


def weights(
    queries: dict[str, Query], answers: list[Answer], rule: Rule, soft: bool
) -> dict[str, npt.NDArray[np.float32]]:
    """W (height, width), 0 to 1, of each query that somebody answered.

    Without ``soft`` W is 0 or 1: 1 where the rule says so. ``majority``: more than half of the experts
    who answered, so a tie marks nothing; ``any``: at least one of them; ``all``: every one. With ``soft``,
    W is the share of them who marked.

    ``dawid-skene`` (Dawid and Skene 1979, by way of crowd-kit) weighs each expert by how reliable the
    round's answers show them to be, and estimates for every proposal the probability that it must not
    matter: W is whether that is more than a half, or, with ``soft``, the probability itself. Pixels
    outside the proposals, which only drawn regions reach, go by majority.
    """
    readings = {key: latest([answer for answer in answers if answer.key == key]) for key in queries}
    readings = {key: given for key, given in readings.items() if given}
    found = {}
    for key, given in readings.items():
        size = queries[key].width, queries[key].height
        counts, experts = votes(given, *size)
        found[key] = (counts / experts if soft else _decided(counts, experts, rule)).astype(np.float32)
    if rule == "dawid-skene":
        for key, probabilities in _dawid_skene(queries, readings).items():
            owner = regions.owners(queries[key])
            said = probabilities if soft else probabilities > 0.5
            found[key][owner >= 0] = said[owner[owner >= 0]]
    return found


def disregarded(answers: list[Answer], width: int, height: int, rule: Rule = "majority") -> regions.Mask:
    """(height, width) mask: True where the experts who answered said so, pixel by pixel.

    With a majority, a tie is not one, and without an answer nothing is disregarded: the model is only
    told to look away where experts clearly agree. ``dawid-skene`` counts as majority here.
    """
    return _decided(*votes(answers, width, height), rule)


def _decided(counts: npt.NDArray[np.int64], experts: int, rule: Rule) -> regions.Mask:
    if rule == "any":
        return counts > 0
    if rule == "all":
        return (counts == experts) & (experts > 0)
    return 2 * counts > experts


def votes(answers: list[Answer], width: int, height: int) -> tuple[npt.NDArray[np.int64], int]:
    """(height, width) number of experts who disregard each pixel, and how many experts answered."""
    readings = latest(answers)
    counts = np.zeros((height, width), dtype=np.int64)
    for answer in readings:
        counts += regions.mask(answer.result, width, height)[0]
    return counts, len(readings)


def judged(query: Query, answer: Answer) -> npt.NDArray[np.bool_]:
    """Which of the query's proposals (P,) an expert disregards: more than half of the proposal's pixels.

    By area, not by id: marking a proposal and drawing over it say the same.
    """
    marked = regions.mask(answer.result, query.width, query.height)[0]
    areas = [regions.pixels(proposal, query.width, query.height) for proposal in query.proposals]
    return np.array([bool(marked[area].mean() > 0.5) for area in areas], bool)


def latest(answers: list[Answer]) -> list[Answer]:
    """Each expert's last answer to one query, by expert.

    A skipped query is not an answer, and who says "cannot judge" takes no part.
    """
    if len({answer.key for answer in answers}) > 1:
        raise AnnotationError("answers to different queries cannot be put into one mask")
    answered = [answer for answer in answers if not answer.skipped]
    last = {answer.expert: answer for answer in sorted(answered, key=Answer.version)}
    return [last[expert] for expert in sorted(last) if verdict(last[expert]) is not Verdict.CANNOT_JUDGE]


def _dawid_skene(queries: dict[str, Query], readings: dict[str, list[Answer]]) -> dict[str, npt.NDArray[Any]]:
    """The probability that each proposal (P,) of each answered query must not matter."""
    try:
        import pandas as pd
        from crowdkit.aggregation import DawidSkene
    except ImportError as error:
        raise AnnotationError(
            "`consensus.rule: dawid-skene` needs crowd-kit, which is not installed; run `pip install -c "
            "constraints.txt '.[crowd]'`, or choose majority, any or all in params.yaml"
        ) from error
    numbers: dict[str, npt.NDArray[np.int_]] = {}  # each proposal's, in crowd-kit's tasks
    rows: list[tuple[int, str, int]] = []
    for key, given in readings.items():
        numbers[key] = sum(map(len, numbers.values())) + np.arange(len(queries[key].proposals))
        for answer in given:
            marks = judged(queries[key], answer)
            rows += [(int(n), answer.expert, int(mark)) for n, mark in zip(numbers[key], marks, strict=True)]
    if not rows:
        return {}
    table = pd.DataFrame(rows, columns=["task", "worker", "label"])
    probabilities = DawidSkene(n_iter=100).fit(table).probas_.reindex(columns=[0, 1], fill_value=0.0)
    return {key: probabilities.loc[rows_of, 1].to_numpy() for key, rows_of in numbers.items()}
