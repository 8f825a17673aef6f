"""`backbones` and `scenarios` of params.yaml: the network, its training, the penalty, the queries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline import choices
from pipeline.config.datasets import Text
from pipeline.config.sections import Name, Rate, Section, Share


class Backbone(Section):
    """A timm architecture and the one source of its weights; there is no fallback."""

    architecture: str
    weights: choices.WeightsSource
    file: str | None = None

    @model_validator(mode="after")
    def _file_has_its_source(self) -> Backbone:
        if (self.weights == "file") != (self.file is not None):
            raise ValueError("`file` and `weights: file` belong together. Fix: set both, or neither")
        return self


class Augment(Section):
    """Augmentation of the training images; the penalty always sees the original images."""

    flip: bool
    rotate_degrees: Annotated[float, Field(ge=0, le=180)]
    crop: Annotated[float, Field(ge=0, lt=1)]  # largest share of the side that is cut away
    brightness: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    """How a network is trained; the same in every arm."""

    baseline_epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=1)]
    batchnorm: choices.BatchNorm  # its statistics; see pipeline/training/trainer.py
    class_balance: choices.ClassBalance = "none"  # loss: rare classes weigh more; sampler: they occur more often
    precision: choices.Precision = "no"  # bf16: mixed precision; the penalty stays in float32
    layers: choices.Layers = "all"  # head: the last layer alone learns; for a few hundred images
    slices: Annotated[int, Field(ge=1)] = 1  # parts of a batch that are processed one after another, to save memory
    augment: Augment


class Penalty(Section):
    """The masked input-gradient penalty; pipeline/feedback/penalty.py explains the words."""

    form: choices.Form
    output: choices.Output
    weight: Annotated[float, Field(ge=0)] | Literal["auto"]  # lambda
    ratio: Annotated[float, Field(gt=0)] = 1.0  # `weight: auto`: penalty over cross-entropy at the first masked step
    every: Annotated[int, Field(ge=1)] = 1  # every how many steps the penalty is computed
    sample: Annotated[int, Field(ge=1)] | None = None  # masked images per step, at most
    oversample: Annotated[int, Field(ge=1)] = 1  # how often masked images occur in an epoch


class Spread(Section):
    """Marks for images without an answer; see pipeline/feedback/spreading.py."""

    precision: Share = 0.9  # share of the spread cells that must be right, by cross-validation


class Refit(Section):
    """The last layer anew after the epochs of each step; see pipeline/training/refit.py."""

    draws: Annotated[int, Field(ge=1)] = 6  # how often each image is read
    decay: Annotated[float, Field(gt=0)] = 100.0  # weight of the squared weights, against the mean loss


SWITCHES: dict[str, Any] = {"off": None, "False": None, "on": {}, "True": {}}  # YAML reads `off` and `on` as booleans
SWITCH = BeforeValidator(lambda given: SWITCHES.get(str(given), given))


class FeedbackSettings(Section):
    """The effect of the masks on training, and whether marks are spread."""

    form: choices.FeedbackForm = "penalty"
    # counterexamples; see pipeline/feedback/counterexamples.py
    fill: choices.Fill = "another"
    edge: Annotated[float, Field(ge=0, le=0.1)] = 0.0  # width of the soft edge, share of the side
    share: Share = 1.0  # of the times that a masked image is read; 1: its original is never read
    # weight of KL(f(x) ‖ f(x~)), of an original and its counterexample
    consistency: Annotated[float, Field(ge=0)] = 0.0
    refit: Annotated[Refit | None, SWITCH] = None  # off | on | {draws: …, decay: …}
    spread: Annotated[Spread | None, SWITCH] = None  # off | on | {precision: …}

    @model_validator(mode="after")
    def _refit_and_consistency_read_counterexamples(self) -> FeedbackSettings:
        if self.refit and self.form != "counterexamples":
            raise ValueError("`refit` would undo the penalty. Fix: set `form` to counterexamples, or `refit` to off")
        if self.consistency and self.form != "counterexamples":
            raise ValueError("`consistency` needs counterexamples. Fix: set `form` to counterexamples, or leave it out")
        return self


class Explain(Section):
    """How images are explained, for queries and in the report; see pipeline/query/attribution.py."""

    method: choices.Method = "deeplift"
    reference: choices.Reference = "blur"  # mean: the backbone's mean colour, which is its zero input
    blur_sigma: Annotated[float, Field(ge=0.01, le=0.3)] = 0.1  # share of the side
    blur_reach: Annotated[float, Field(ge=1, le=3)] = 2.0  # sigmas from the kernel's middle to its end
    limit: Annotated[float, Field(gt=0)] = 0.1  # of DeepLIFT's error, a share of the output's difference
    # predicted | true | a class's name; YAML reads `true` as a boolean
    target: Annotated[str, BeforeValidator(lambda given: "true" if given is True else given)] = "predicted"


class QuerySettings(Section):
    """Which images become queries, and which of their regions are shown."""

    strategy: choices.Strategy
    explain: Explain = Explain()
    regions: choices.Regions = "grid"  # see pipeline/query/proposals.py
    rank: choices.Rank = "absolute"  # signed: only saliency for the explained class
    cell: Annotated[int, Field(ge=4)]  # side of a grid cell, or of a typical region, pixels
    proposals: Annotated[int, Field(ge=1)]
    random_share: Rate = 0.0  # of the proposals, drawn at random; spread marks are more exact with one half
    prefill: bool = False  # proposals that experts would rather mark come marked; see pipeline/feedback/spreading.py

    @model_validator(mode="after")
    def _blobs_are_salient(self) -> QuerySettings:
        if self.regions == "blobs" and self.random_share:
            raise ValueError("`random_share` needs regions that cover the image. Fix: set `regions` to grid")
        return self


class External(Section):
    """Another data set, on which final networks are tested; `evaluate` alone reads it (pipeline/data/external.py)."""

    dataset: Name
    classes: dict[Text, Text | None] = {}  # noqa: RUF012  # its class → the scenario's, or null to leave images out


class Scenario(Section):
    """One data set at one fraction with one starting point, and how to train on it."""

    dataset: Name
    fraction: Share
    init: str  # weights to start from: a prepared backbone, or another scenario's state
    train: Train
    penalty: Penalty
    feedback: FeedbackSettings = FeedbackSettings()
    query: QuerySettings
    # the name of a data set, or {dataset: …, classes: …}
    external: list[
        Annotated[External, BeforeValidator(lambda given: {"dataset": given} if isinstance(given, str) else given)]
    ] = []  # noqa: RUF012
    groups: list[str] = []  # noqa: RUF012  # attributes of the data set, whose values get rows in the report

    @model_validator(mode="after")
    def _prefilled_marks_are_spread(self) -> Scenario:
        if self.query.prefill and not self.feedback.spread:
            raise ValueError(
                "`query.prefill` needs marks that are spread. Fix: set `feedback.spread` to on, or `prefill` to false"
            )
        return self
