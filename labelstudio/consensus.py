"""Raw answers on one image → one mask: where the model must not look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labelstudio import regions
from labelstudio.records import AnnotationError, Answer
from labelstudio.verdicts import Verdict, verdict


def disregarded(answers: list[Answer], width: int, height: int) -> regions.Mask:
    """(height, width) mask: True where more than half of the experts who answered said so.

    A tie is not a majority, and without an answer nothing is disregarded: the model is only
    told to look away where experts clearly agree.
    """
    counts, experts = votes(answers, width, height)
    return 2 * counts > experts


def votes(answers: list[Answer], width: int, height: int) -> tuple[npt.NDArray[np.int64], int]:
    """(height, width) number of experts who disregard each pixel, and how many experts answered."""
    readings = latest(answers)
    counts = np.zeros((height, width), dtype=np.int64)
    for answer in readings:
        counts += regions.mask(answer.result, width, height)[0]
    return counts, len(readings)


def latest(answers: list[Answer]) -> list[Answer]:
    """Each expert's last answer to one query, by expert.

    A skipped query is not an answer, and who says "cannot judge" takes no part.
    """
    if len({answer.key for answer in answers}) > 1:
        raise AnnotationError("answers to different queries cannot be put into one mask")
    answered = [answer for answer in answers if not answer.skipped]
    last = {answer.expert: answer for answer in sorted(answered, key=Answer.version)}
    return [last[expert] for expert in sorted(last) if verdict(last[expert]) is not Verdict.CANNOT_JUDGE]
