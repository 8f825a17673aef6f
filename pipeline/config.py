"""params.yaml as validated, typed settings, and where every artefact lies.

Nothing else reads params.yaml and nothing else spells out a path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import PipelineError


class ConfigError(PipelineError):
    """A setting, file or data set is not as it must be; the message says which, and the remedy."""


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$", max_length=30)]
Share = Annotated[float, Field(gt=0, le=1)]


class Dataset(Section):
    """Where a data set comes from. ``root`` is the folder of the official download, if it needs one."""

    source: Literal["decoy-digits", "isic2017"]
    size: Annotated[int, Field(ge=32, le=1024)]  # side of the prepared square images, pixels
    root: str | None = None


class Backbone(Section):
    """A timm architecture and the one source of its weights; there is no fallback."""

    architecture: str
    weights: Literal["package", "hub", "file", "random"]
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
    freeze_batchnorm: bool  # after the baseline, in every arm
    augment: Augment


class Penalty(Section):
    """The masked input-gradient penalty; see pipeline/penalty.py for what the words mean."""

    form: Literal["eq2", "share"]
    output: Literal["logits", "log-probs", "projection"]
    weight: Annotated[float, Field(ge=0)]  # lambda


class QuerySettings(Section):
    """Which images are asked about, and which regions of them."""

    strategy: Literal["entropy"]
    cell: Annotated[int, Field(ge=4)]  # side of a grid cell, pixels
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


class Hitl(Section):
    """Which scenarios get rounds, and which rounds."""

    scenarios: Annotated[list[Name], Field(min_length=1)]
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


class Arm(Section):
    """An arm that needs no new answers, and the file of the run that it replays."""

    name: Literal["automated", "random-mask"]
    replays: str


class Control(Section):
    """The arms that experts' answers are compared with."""

    arms: list[Arm]


class Annotate(Section):
    """Who answers: people, or a simulated expert that knows where the evidence is."""

    expert: Literal["human", "simulated"]
    evidence_share: Share  # simulated: a proposal with less evidence than this is marked


class Config(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    datasets: dict[Name, Dataset]
    backbones: dict[Name, Backbone]
    protocols: dict[str, Any] = {}  # YAML anchors that scenarios merge in; not read by itself
    scenarios: dict[Name, Scenario]
    annotate: Annotate
    hitl: Hitl
    control: Control

    @model_validator(mode="after")
    def _names_exist_and_sizes_fit(self) -> Config:
        for name, scenario in self.scenarios.items():
            if scenario.dataset not in self.datasets:
                raise ValueError(f"scenarios.{name}.dataset: no data set {scenario.dataset!r} under `datasets`")
            size, cell = self.datasets[scenario.dataset].size, scenario.query.cell
            if size % cell:
                raise ValueError(
                    f"scenarios.{name}.query.cell: {cell} does not divide the images of "
                    f"{scenario.dataset!r} ({size} x {size} pixels); choose a divisor of {size}"
                )
            if scenario.query.proposals > (size // cell) ** 2:
                raise ValueError(
                    f"scenarios.{name}.query.proposals: {scenario.query.proposals} of only "
                    f"{(size // cell) ** 2} grid cells; lower it or make the cells smaller"
                )
        for arm in self.control.arms:
            replays = {"automated": "start/history.csv", "random-mask": f"{self.hitl.last}/masks.npz"}[arm.name]
            if arm.replays != replays:
                raise ValueError(f"control.arms: {arm.name!r} replays {replays!r}, not {arm.replays!r}")
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


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown setting; remove it or correct its spelling"
        elif problem["type"] == "missing":
            message = "missing; add it"
        elif problem["type"] != "value_error":
            message += f" (it is {problem['input']!r})"
        lines.append(f"{path}: {place}: {message}" if place else f"{path}: {message}")
    return "\n".join(lines)


# Where things lie: `data/` holds what is made from the original images, `runs/` what training made.


def prepared_dir(dataset: str) -> Path:
    """The prepared data set: images.npy, evidence.npy, index.csv, manifest.json."""
    return Path("data/prepared") / dataset


def backbone_file(backbone: str) -> Path:
    """Pretrained weights, whatever they came from."""
    return Path("data/backbones") / f"{backbone}.pt"


def subset_file(scenario: str) -> Path:
    """The chosen image ids with labels and splits, and the prepared data's digest."""
    return Path("runs") / scenario / "subset.csv"


def step_dir(scenario: str, step: str) -> Path:
    """What one step of a scenario wrote: ``start``, a round (``00``, …), or an arm's name."""
    return Path("runs") / scenario / step


REPORT = Path("report")


def scores_file(scenario: str) -> Path:
    """What each arm of a scenario came to: arm → metric → value."""
    return REPORT / "scenarios" / f"{scenario}.json"


def curves_file(scenario: str) -> Path:
    """Every arm's history as a picture; beside it lies the same as CSV."""
    return REPORT / "curves" / f"{scenario}.png"


def explanations_file(scenario: str) -> Path:
    """What every arm's final network looks at, as a picture."""
    return REPORT / "explanations" / f"{scenario}.png"
