"""`hitl`, `annotate`, `consensus` and `compute` of params.yaml: rounds, experts, and where stages run."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pipeline import choices
from pipeline.config.sections import Name, Rate, Section, Share


def _reason(text: str) -> str:
    # Label Studio replaces `$word` by a field of the task; the report has a group of marks with no reason.
    if not re.fullmatch(r"\w([\w &/'().,-]{0,22}[\w).])?", text) or text == "no reason":
        raise ValueError(
            f"{text!r} cannot be a reason. Fix: use 1 to 24 letters, digits, blanks and & / ' ( ) . , - for each reason"
        )
    return text


Reason = Annotated[str, AfterValidator(_reason)]


class Round(Section):
    """One round: ``epochs`` are trained on its answers; ``after`` names the round before it, or `start`."""

    n: Annotated[str, Field(pattern=r"^\d\d$")]
    after: str
    queries: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class Compute(Section):
    """Where stages run: a change of it changes no result and runs no stage again."""

    launcher: str = ""  # command that starts training stages, for example "accelerate launch --num_processes 4"


class Hitl(Section):
    """Which scenarios get rounds, which rounds, and which placebos follow them; see pipeline/arms/placebos.py."""

    scenarios: Annotated[list[Name], Field(min_length=1)]
    placebos: list[choices.Placebo]
    last: str
    rounds: Annotated[list[Round], Field(min_length=1)]

    @model_validator(mode="after")
    def _rounds_make_a_chain(self) -> Hitl:
        before = "start"
        for entry in self.rounds:
            if entry.after != before:
                raise ValueError(f"round {entry.n!r} comes after {entry.after!r}. Fix: set its `after` to {before!r}")
            before = entry.n
        if self.last != before:
            raise ValueError(
                f"`last` is {self.last!r}, but the last round is {before!r}. Fix: set `last` to {before!r}"
            )
        return self


class Simulated(Section):
    """One simulated expert; see labelstudio/client/experts.py."""

    marks: choices.Marks = "irrelevant"  # marks irrelevant proposals, or draws one ellipse around the evidence
    miss_rate: Rate = 0.0  # share of the irrelevant proposals that this expert leaves unmarked
    false_alarm_rate: Rate = 0.0  # share of the other proposals that this expert marks
    speed_s: Annotated[float, Field(gt=0)] = 5.0  # mean time per answer, seconds
    absent: Rate = 0.0  # share of the queries that this expert never answers


class Annotate(Section):
    """Asking: who answers, people or simulated experts that know the evidence, and how many per query."""

    expert: choices.Expert
    experts_per_query: Annotated[int, Field(ge=1)] = 1  # answers that a query needs
    blind: Annotated[int, Field(ge=0)] = 0  # queries per round without outlines, to learn whether experts believe these
    reasons: list[Reason] = []  # noqa: RUF012  # offered for a mark
    adjudicate: Annotated[str, Field(min_length=1)] | None = None  # the account that decides where experts disagree
    evidence_share: Share  # simulated experts mark a proposal with a smaller share of evidence
    crowd: Annotated[list[Simulated], Field(min_length=1)] = [Simulated()]  # noqa: RUF012  # pydantic copies it

    @model_validator(mode="after")
    def _crowd_is_large_enough(self) -> Annotate:
        if self.expert == "simulated" and self.experts_per_query > len(self.crowd):
            raise ValueError(
                f"`experts_per_query` is {self.experts_per_query}, but `crowd` has {len(self.crowd)} experts. "
                "Fix: lower `experts_per_query`, or add experts to `crowd`"
            )
        return self

    @model_validator(mode="after")
    def _each_reason_has_a_key(self) -> Annotate:
        if len(self.reasons) > 7 or len(set(self.reasons)) < len(self.reasons):
            raise ValueError("`reasons` must be at most 7 different words, since each has a key. Fix: shorten the list")
        return self

    @model_validator(mode="after")
    def _somebody_can_disagree(self) -> Annotate:
        if self.adjudicate and (self.expert == "simulated" or self.experts_per_query < 2):
            raise ValueError(
                "`adjudicate` needs several people on each query. "
                "Fix: set `expert: human` and `experts_per_query` to 2 or more, or remove `adjudicate`"
            )
        return self


class Consensus(Section):
    """How answers become masks. A change asks no expert again; see labelstudio/reading/consensus.py."""

    rule: choices.Rule = "majority"
    soft: bool = False  # W is the share of experts who marked, or Dawid-Skene's probability, and not 0 or 1
    gold: Annotated[int, Field(ge=0)] = 0  # queries per round, with known evidence, that measure the experts' accuracy

    @model_validator(mode="after")
    def _soft_has_a_share(self) -> Consensus:
        if self.soft and self.rule in ("any", "all"):
            raise ValueError(f"`soft` has no effect with {self.rule!r}. Fix: set `rule` to majority or dawid-skene")
        return self
