"""params.yaml as validated, typed settings: one module per group of sections."""

from pipeline.config.datasets import (
    Aptos2019,
    Columns,
    Dataset,
    DecoyDigits,
    DecoyMnist,
    Drawn,
    Files,
    Folder,
    Isic2017,
    Isic2017Patches,
    Nci,
    Source,
)
from pipeline.config.params import Config, load
from pipeline.config.rounds import Annotate, Compute, Consensus, Hitl, Round, Simulated
from pipeline.config.scenarios import Augment, Backbone, Explain, Penalty, QuerySettings, Scenario, Train
from pipeline.config.sections import Section, fingerprint

__all__ = [
    "Annotate",
    "Aptos2019",
    "Augment",
    "Backbone",
    "Columns",
    "Compute",
    "Config",
    "Consensus",
    "Dataset",
    "DecoyDigits",
    "DecoyMnist",
    "Drawn",
    "Explain",
    "Files",
    "Folder",
    "Hitl",
    "Isic2017",
    "Isic2017Patches",
    "Nci",
    "Penalty",
    "QuerySettings",
    "Round",
    "Scenario",
    "Section",
    "Simulated",
    "Source",
    "Train",
    "fingerprint",
    "load",
]
