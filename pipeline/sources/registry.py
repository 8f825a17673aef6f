"""The source of each data set: the word `source` in params.yaml → the function that reads the data set's files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.config import Dataset
from pipeline.sources import (
    aptos2019,
    decoy_digits,
    decoy_mnist,
    folder,
    isic2017,
    isic2017_patches,
    isic2017_patches_natural,
    isic2017_ruler,
    nci,
)
from pipeline.sources.source import Source

READERS: dict[str, Callable[[Any], Source]] = {  # each takes its own settings of pipeline/config/datasets.py
    "aptos2019": aptos2019.read,
    "decoy-digits": decoy_digits.read,
    "decoy-mnist": decoy_mnist.read,
    "folder": folder.read,
    "isic2017": isic2017.read,
    "isic2017-patches": isic2017_patches.read,
    "isic2017-patches-natural": isic2017_patches_natural.read,
    "isic2017-ruler": isic2017_ruler.read,
    "nci": nci.read,
}


def read(settings: Dataset) -> Source:
    """Read a data set's tables and list its files; raise DataError on missing files and contradictions."""
    return READERS[settings.source](settings)
