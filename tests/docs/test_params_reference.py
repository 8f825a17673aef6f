import json
import re
from typing import Literal, get_args, get_origin

import pytest
from docs.english import ROOT
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline import config

PAGE = (ROOT / "docs/reference/params.md").read_text(encoding="utf-8")
SECTIONS = {  # heading → the settings that its table lists
    "Top level": config.Config,
    "Data sets": config.Source,
    "Image files": config.Files,
    "window": config.Window,
    "isic2017": config.Isic2017,
    "isic2017-patches-natural": config.Isic2017PatchesNatural,
    "isic2017-ruler": config.Isic2017Ruler,
    "aptos2019": config.Aptos2019,
    "nci": config.Nci,
    "folder": config.Folder,
    "columns": config.Columns,
    "Backbones": config.Backbone,
    "Scenarios": config.Scenario,
    "external": config.External,
    "train": config.Train,
    "augment": config.Augment,
    "penalty": config.Penalty,
    "feedback": config.FeedbackSettings,
    "refit": config.Refit,
    "spread": config.Spread,
    "query": config.QuerySettings,
    "explain": config.Explain,
    "annotate": config.Annotate,
    "crowd": config.Simulated,
    "consensus": config.Consensus,
    "compute": config.Compute,
    "hitl": config.Hitl,
    "rounds": config.Round,
}
DRAWN = {config.DecoyDigits, config.DecoyMnist, config.Isic2017Patches}  # no settings beside those of every data set


def table(heading):
    """Each setting of the table under a heading: name → (type, default, meaning)."""
    part = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+) \|$", part[1], flags=re.MULTILINE)
    return {name: (kind, default, meaning) for name, kind, default, meaning in rows}


def fields(section):
    """The settings that a section adds to its base; `source` stands in the table of all data sets."""
    inherited = {"source"} | {name for base in section.__bases__ for name in getattr(base, "model_fields", {})}
    return {name: field for name, field in section.model_fields.items() if name not in inherited}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_lists_every_setting_with_its_default(heading):
    wanted = {name: written(field) for name, field in fields(SECTIONS[heading]).items()}
    listed = {name: default for name, (_, default, _) in table(heading).items() if name != "source"}
    assert listed == wanted


def written(field):
    """A field's default as the page writes it."""
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        assert field.default == type(field.default)()
        return "all defaults"
    if isinstance(field.default, list) and field.default:
        assert field.default == [config.Simulated()]
        return "one without errors"
    return f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_lists_every_word_of_a_choice(heading):
    for name, field in fields(SECTIONS[heading]).items():
        words = re.findall(r"`([^`]+)`", table(heading)[name][0])
        assert set(words) == set(choices(field.annotation)), name


def choices(annotation):
    """All words that an annotation allows, however deep they are in unions and lists."""
    if get_origin(annotation) is Literal:
        return [word for word in get_args(annotation) if isinstance(word, str)]
    return [word for part in get_args(annotation) for word in choices(part)]


def test_the_reference_lists_every_section():
    known = {*SECTIONS.values(), *DRAWN}
    missing = [section for section in descendants(config.Section) if section not in known]
    assert missing == []


def descendants(section):
    ours = [child for child in section.__subclasses__() if child.__module__.startswith("pipeline.")]  # not a test's
    return [found for child in ours for found in (child, *descendants(child))]


def test_the_reference_lists_every_source_of_a_data_set():
    sources = {choice for section in descendants(config.Source) for choice in source_of(section)}
    assert set(re.findall(r"`([^`]+)`", table("Data sets")["source"][0])) == sources


def source_of(section):
    return choices(section.model_fields["source"].annotation) if "source" in section.model_fields else []
