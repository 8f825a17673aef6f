"""params.yaml as validated, typed settings. Nothing else reads params.yaml."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.choices import (
    BatchNorm,
    ClassBalance,
    Duplicates,
    Expert,
    Fit,
    Form,
    Method,
    Output,
    Placebo,
    Precision,
    Rank,
    Reference,
    Regions,
    Rule,
    Strategy,
    WeightsSource,
)
from pipeline.errors import ConfigError


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Name = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$", max_length=24)
]  # so that Label Studio takes the titles made of them
Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Source(Section):
    """What every data set has. ``root``: what it is made from; DVC prepares it anew when that changes."""

    root: str
    size: Annotated[int, Field(ge=32, le=1024)]  # side of the prepared square images, pixels


class DecoyDigits(Source):
    """The embedded data set; its digits come with scikit-learn. See pipeline/sources/decoy_digits.py."""

    source: Literal["decoy-digits"]


class DecoyMnist(Source):
    """See pipeline/sources/decoy_mnist.py."""

    source: Literal["decoy-mnist"]
    size: Literal[28] = 28


class Isic2017Patches(Source):
    """See pipeline/sources/isic2017_patches.py."""

    source: Literal["isic2017-patches"]


class Files(Source):
    """A data set of image files below ``root``."""

    fit: Fit = "stretch"  # both sides to size, or the shorter one and the middle
    duplicates: Duplicates = "error"  # the same picture in several official splits
    split_seed: Annotated[int, Field(ge=0)] = 0  # where the source has no splits of its own


class Isic2017(Files):
    """See pipeline/sources/isic2017.py."""

    source: Literal["isic2017"]
    classes: Literal["melanoma", "seborrheic-keratosis", "melanoma-or-seborrheic-keratosis"] = "melanoma"


class Aptos2019(Files):
    """See pipeline/sources/aptos2019.py."""

    source: Literal["aptos2019"]
    masks: str | None = None  # a folder of evidence masks, below root


class Nci(Files):
    """See pipeline/sources/nci.py."""

    source: Literal["nci"]
    covariates: str  # the table, below root
    patient: str | None = None  # its column that names the patient


class Columns(Section):
    """What the columns of a table are called; see pipeline/sources/folder.py."""

    image: str = "image"
    label: str = "label"
    split: str = "split"
    group: str = "group"
    mask: str = "mask"


class Folder(Files):
    """See pipeline/sources/folder.py."""

    source: Literal["folder"]
    table: str | None = None  # below root; without it, folders are named after classes
    columns: Columns = Columns()
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.2  # val and test together, without splits: one in 2, 3, 4, …


Drawn = DecoyDigits | DecoyMnist | Isic2017Patches  # data sets with a shortcut of ours, without files of their own
Dataset = Annotated[Drawn | Isic2017 | Aptos2019 | Nci | Folder, Field(discriminator="source")]


class Backbone(Section):
    """A timm architecture and the one source of its weights; there is no fallback."""

    architecture: str
    weights: WeightsSource
    file: str | None = None

    @model_validator(mode="after")
    def _file_goes_with_its_source(self) -> Backbone:
        if (self.weights == "file") != (self.file is not None):
            raise ValueError("`file` goes with `weights: file`, and only with it")
        return self


class Augment(Section):
    """Augmentation of the training images; the penalty always sees the original ones."""

    flip: bool
    rotate_degrees: Annotated[float, Field(ge=0, le=180)]
    crop: Annotated[float, Field(ge=0, lt=1)]  # largest share of the side cut away
    brightness: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    """How a network is trained, the same in every arm."""

    baseline_epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=1)]
    batchnorm: BatchNorm  # its statistics; see pipeline/training/trainer.py
    class_balance: ClassBalance = "none"  # rare classes weigh more, or come more often
    precision: Precision = "no"  # mixed; the penalty is always computed in float32
    slices: Annotated[int, Field(ge=1)] = 1  # parts of a batch that pass one after another: less memory
    augment: Augment


class Penalty(Section):
    """The masked input-gradient penalty; see pipeline/feedback/penalty.py for what the words mean."""

    form: Form
    output: Output
    weight: Annotated[float, Field(ge=0)] | Literal["auto"]  # lambda
    ratio: Annotated[float, Field(gt=0)] = 1.0  # auto: of the penalty to the cross-entropy, when masks first come
    every: Annotated[int, Field(ge=1)] = 1  # steps from one penalised step to the next
    sample: Annotated[int, Field(ge=1)] | None = None  # of a step's masked images, at most so many
    oversample: Annotated[int, Field(ge=1)] = 1  # how often masked images come in an epoch


class Explain(Section):
    """How images are explained, to ask about them and in the report; see pipeline/query/attribution.py."""

    method: Method = "deeplift"
    reference: Reference = "blur"  # mean: the network's own, its zero input
    blur_sigma: Annotated[float, Field(ge=0.01, le=0.3)] = 0.1  # share of the side
    blur_reach: Annotated[float, Field(ge=1, le=3)] = 2.0  # sigmas from the kernel's middle to its end
    # predicted | true | a class's name; YAML reads `true` as a boolean
    target: Annotated[str, BeforeValidator(lambda given: "true" if given is True else given)] = "predicted"


class QuerySettings(Section):
    """Which images are asked about, and which regions of them."""

    strategy: Strategy
    explain: Explain = Explain()
    regions: Regions = "grid"  # see pipeline/query/proposals.py
    rank: Rank = "absolute"  # signed: only what speaks for the explained class
    cell: Annotated[int, Field(ge=4)]  # side of a grid cell, or of a typical region, pixels
    proposals: Annotated[int, Field(ge=1)]


class Scenario(Section):
    """One data set at one fraction with one starting point, and how it is trained."""

    dataset: Name
    fraction: Share
    init: str  # weights to start from: a prepared backbone, or another scenario's state
    train: Train
    penalty: Penalty
    query: QuerySettings


class Round(Section):
    """``epochs`` are trained on this round's answers; ``after`` names what the round starts from."""

    n: Annotated[str, Field(pattern=r"^\d\d$")]
    after: str
    queries: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class Compute(Section):
    """Where stages run: changing it changes no result, and runs no stage again."""

    launcher: str = ""  # what starts the stages that train, as "accelerate launch --multi_gpu --num_processes 4"


class Hitl(Section):
    """Which scenarios get rounds, which rounds, and which placebos follow them; see pipeline/arms/placebos.py."""

    scenarios: Annotated[list[Name], Field(min_length=1)]
    placebos: list[Placebo]
    last: str
    rounds: Annotated[list[Round], Field(min_length=1)]

    @model_validator(mode="after")
    def _rounds_make_a_chain(self) -> Hitl:
        before = "start"
        for entry in self.rounds:
            if entry.after != before:
                raise ValueError(f"round {entry.n!r} must come after {before!r}, not {entry.after!r}")
            before = entry.n
        if self.last != before:
            raise ValueError(f"`last` must be the last round, {before!r}, not {self.last!r}")
        return self


class Simulated(Section):
    """One simulated expert; see labelstudio/client/experts.py."""

    miss_rate: Rate = 0.0  # of what is to be marked, this share is not
    false_alarm_rate: Rate = 0.0  # of what is not to be marked, this share is
    speed_s: Annotated[float, Field(gt=0)] = 5.0  # seconds an answer takes
    absent: Rate = 0.0  # share of the queries that this expert never answers


class Annotate(Section):
    """Asking: who answers, people or simulated experts that know where the evidence is, and how many."""

    expert: Expert
    experts_per_query: Annotated[int, Field(ge=1)] = 1  # a query is answered when so many have answered it
    evidence_share: Share  # simulated: a proposal with less evidence than this is marked
    crowd: Annotated[list[Simulated], Field(min_length=1)] = [Simulated()]

    @model_validator(mode="after")
    def _there_are_enough_of_them(self) -> Annotate:
        if self.expert == "simulated" and self.experts_per_query > len(self.crowd):
            raise ValueError(
                f"`experts_per_query` is {self.experts_per_query}, but `crowd` has {len(self.crowd)}; "
                "lower the one or lengthen the other"
            )
        return self


class Consensus(Section):
    """Reading: what becomes of the answers. Changing it asks nobody again; see labelstudio/reading/consensus.py."""

    rule: Rule = "majority"
    soft: bool = False  # W is the share of experts who marked (dawid-skene: the probability), instead of 0 or 1
    gold: Annotated[int, Field(ge=0)] = 0  # so many of a round's queries, with known evidence, judge the experts

    @model_validator(mode="after")
    def _only_what_counts_can_be_soft(self) -> Consensus:
        if self.soft and self.rule in ("any", "all"):
            raise ValueError(f"`soft` goes with majority or dawid-skene: it leaves nothing to decide to {self.rule!r}")
        return self


class Config(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    datasets: dict[Name, Dataset]
    backbones: dict[Name, Backbone]
    protocols: dict[str, Any] = {}  # YAML anchors that scenarios merge in; not read by itself
    scenarios: dict[Name, Scenario]
    annotate: Annotate
    consensus: Consensus = Consensus()
    compute: Compute = Compute()
    hitl: Hitl

    @model_validator(mode="after")
    def _names_exist_and_sizes_fit(self) -> Config:
        for name, scenario in self.scenarios.items():
            if scenario.dataset not in self.datasets:
                raise ValueError(f"scenarios.{name}.dataset: no data set {scenario.dataset!r} under `datasets`")
            size, cell = self.datasets[scenario.dataset].size, scenario.query.cell
            if scenario.query.regions == "grid" and size % cell:
                raise ValueError(
                    f"scenarios.{name}.query.cell: {cell} does not divide the images of "
                    f"{scenario.dataset!r} ({size} x {size} pixels); choose a divisor of {size}"
                )
            if scenario.query.proposals > (size // cell) ** 2:
                raise ValueError(
                    f"scenarios.{name}.query.proposals: {scenario.query.proposals} of only "
                    f"{(size // cell) ** 2} regions of {cell} x {cell} pixels; lower it or `cell`"
                )
        for name in self.hitl.scenarios:
            if name not in self.scenarios:
                raise ValueError(f"hitl.scenarios: no scenario {name!r} under `scenarios`")
        return self

    def scenario(self, name: str) -> Scenario:
        """The scenario of that name; raises ConfigError if there is none."""
        try:
            return self.scenarios[name]
        except KeyError:
            raise ConfigError(f"params.yaml has no scenario {name!r}; it has {', '.join(self.scenarios)}") from None


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and validate params.yaml; raises ConfigError naming every setting that is wrong."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run from the project's root") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None


def fingerprint(*parts: object) -> str:
    """A name, 16 hexadecimal digits, for all that a result depends on: sections of the settings and plain JSON values.

    A setting at its default is left out and the order of settings does not count, so that results which are already
    published stay valid when a new setting with a default is added.
    """

    def plain(part: object) -> object:
        return part.model_dump(mode="json", exclude_defaults=True) if isinstance(part, Section) else part

    text = json.dumps([plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        # Where the source decides which settings there are, pydantic puts its name into the place.
        parts = [part for i, part in enumerate(problem["loc"]) if i != 2 or problem["loc"][0] != "datasets"]
        place = ".".join(map(str, parts))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown setting; remove it or correct its spelling"
        elif problem["type"] == "missing":
            message = "missing; add it"
        elif problem["type"] != "value_error":
            message += f" (it is {problem['input']!r})"
        lines.append(f"{path}: {place}: {message}" if place else f"{path}: {message}")
    return "\n".join(lines)
