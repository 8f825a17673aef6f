"""The whole of params.yaml, read and validated. Nothing else reads params.yaml."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from pipeline import choices
from pipeline.config import findings
from pipeline.config.datasets import Dataset
from pipeline.config.rounds import Annotate, Compute, Consensus, Hitl
from pipeline.config.scenarios import Backbone, Scenario
from pipeline.config.sections import Name, Section
from pipeline.errors import ConfigError


class Config(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    datasets: dict[Name, Dataset]
    backbones: dict[Name, Backbone]
    protocols: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it. YAML anchors that scenarios merge in
    scenarios: dict[Name, Scenario]
    annotate: Annotate
    consensus: Consensus = Consensus()
    compute: Compute = Compute()
    hitl: Hitl

    @model_validator(mode="after")
    def _names_exist_and_sizes_fit(self) -> Config:
        for name, scenario in self.scenarios.items():
            if scenario.dataset not in self.datasets:
                raise ValueError(
                    f"scenarios.{name}.dataset: there is no data set {scenario.dataset!r}. "
                    f"Fix: choose one of `datasets`: {', '.join(self.datasets)}"
                )
            size, cell = self.datasets[scenario.dataset].size, scenario.query.cell
            if scenario.query.regions == "grid" and size % cell:
                raise ValueError(
                    f"scenarios.{name}.query.cell: {cell} does not divide the images of {scenario.dataset!r} "
                    f"({size} x {size} pixels). Fix: choose a divisor of {size}"
                )
            if scenario.query.proposals > (size // cell) ** 2:
                raise ValueError(
                    f"scenarios.{name}.query.proposals: {scenario.query.proposals} proposals, but an image has only "
                    f"{(size // cell) ** 2} regions of {cell} x {cell} pixels. Fix: lower `proposals` or `cell`"
                )
            other = [arm for arm in self.hitl.placebos if arm in get_args(choices.OfPenalty)]
            if other and name in self.hitl.scenarios and scenario.feedback.form != "penalty":
                raise ValueError(
                    f"hitl.placebos: {other[0]!r} changes the penalty, but the scenario {name!r} trains with "
                    f"{scenario.feedback.form!r}. Fix: remove it from `placebos`, or set `feedback.form: penalty`"
                )
        for name in self.hitl.scenarios:
            if name not in self.scenarios:
                raise ValueError(
                    f"hitl.scenarios: there is no scenario {name!r}. "
                    f"Fix: choose from `scenarios`: {', '.join(self.scenarios)}"
                )
        return self

    @model_validator(mode="after")
    def _settings_suit_findings(self) -> Config:
        for name, scenario in self.scenarios.items():
            names = self.findings(scenario.dataset)
            for problem in findings.problems(scenario, names) if names else ():
                raise ValueError(f"scenarios.{name}.{problem}")
            for one in scenario.external:
                if one.dataset in self.datasets and bool(self.findings(one.dataset)) != bool(names):
                    raise ValueError(
                        f"scenarios.{name}.external: of {one.dataset!r} and {scenario.dataset!r}, one has findings and "
                        "the other has classes. Fix: name another one, or list the same `findings` for both"
                    )
        return self

    @model_validator(mode="after")
    def _external_sets_are_unseen(self) -> Config:
        for name, scenario in self.scenarios.items():
            trained_on = set(self._trained_on(name))
            for number, one in enumerate(scenario.external):
                place = f"scenarios.{name}.external: {one.dataset!r}"
                if one.dataset not in self.datasets:
                    raise ValueError(
                        f"{place} is no data set. Fix: choose one of `datasets`: {', '.join(self.datasets)}"
                    )
                if one.dataset in trained_on:
                    raise ValueError(
                        f"{place} is trained on, by this scenario or for its `init`. Fix: name another one"
                    )
                if one.dataset in [other.dataset for other in scenario.external[:number]]:
                    raise ValueError(f"{place} is there twice. Fix: remove one")
                sizes = self.datasets[one.dataset].size, self.datasets[scenario.dataset].size
                if sizes[0] != sizes[1]:
                    raise ValueError(
                        f"{place} has images of {sizes[0]} pixels a side, and {scenario.dataset!r} of {sizes[1]}. "
                        "Fix: give both the same `size`"
                    )
        return self

    @model_validator(mode="after")
    def _groups_are_attributes(self) -> Config:
        for name, scenario in self.scenarios.items():
            known = getattr(self.datasets[scenario.dataset], "attributes", ())
            for attribute in scenario.groups:
                if attribute not in known:
                    there = f"its attributes are {', '.join(known)}" if known else "it has no attributes"
                    raise ValueError(
                        f"scenarios.{name}.groups: {attribute!r} is no attribute of {scenario.dataset!r}; {there}. "
                        f"Fix: correct it, or name this column of the table in `datasets.{scenario.dataset}.attributes`"
                    )
                if scenario.groups.count(attribute) > 1:
                    raise ValueError(f"scenarios.{name}.groups: {attribute!r} is there twice. Fix: remove one")
        return self

    def findings(self, dataset: str) -> list[str] | None:
        """Return the findings of a data set; None for a data set of classes."""
        return getattr(self.datasets[dataset], "findings", None)

    def _trained_on(self, name: str) -> Iterator[str]:
        """Yield the data sets of a scenario, and of each scenario whose state it starts from."""
        seen: set[str] = set()
        while name in self.scenarios and name not in seen:
            seen.add(name)
            yield self.scenarios[name].dataset
            name = next(iter(Path(self.scenarios[name].init).parts[1:2]), "")  # runs/<scenario>/…/state.pt

    def scenario(self, name: str) -> Scenario:
        """Return the scenario with this name; raises ConfigError if there is none."""
        try:
            return self.scenarios[name]
        except KeyError:
            raise ConfigError(
                f"params.yaml has no scenario {name!r}. Fix: choose one of {', '.join(self.scenarios)}"
            ) from None


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and validate params.yaml; raises ConfigError that names every wrong setting."""
    document = read_yaml(path)
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None


def read_yaml(path: Path) -> Any:
    """Return a YAML file's content; raises ConfigError, also for a name that is there twice.

    It is read as DVC reads it, as YAML 1.2. YAML 1.1 would read ``no`` as false, ``010`` as 8 and ``1e-3`` as text.
    """
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        said = str(error.problem).partition(" with value")[0].replace("found duplicate key", "there is already a")
        raise ConfigError(f"{path}, line {line}: {said} in this section. Fix: remove one of the two") from None
    except OSError as error:
        raise ConfigError(
            f"cannot read {path} ({error.strerror}). Fix: run this in the project's root folder"
        ) from error
    except Exception as error:  # text in another encoding, impossible dates and others are no YAMLError
        raise ConfigError(f"{path} is not valid YAML: {error}. Fix: correct that line") from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        # For data sets, pydantic adds the name of the source to the place of a setting.
        parts = [part for i, part in enumerate(problem["loc"]) if i != 2 or problem["loc"][0] != "datasets"]
        place = ".".join(map(str, parts))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown setting. Fix: remove it or correct its spelling"
        elif problem["type"] == "missing":
            message = "missing. Fix: add it"
        elif problem["type"] == "literal_error":
            words = tuple(re.findall(r"'([^']+)'", problem["ctx"]["expected"]))
            near = choices.nearest(problem["input"], words)
            message = f"unknown word {problem['input']!r}. Fix: {near}choose one of {', '.join(words)}"
        elif problem["type"] == "bool_type":
            message = f"must be true or false (it is {reprlib.repr(problem['input'])})"
        elif problem["type"] != "value_error":
            message += f" (it is {reprlib.repr(problem['input'])})"
        lines.append(f"{path}: {place}: {message}" if place else f"{path}: {message}")
    return "\n".join(lines)
