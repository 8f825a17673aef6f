"""The sources of image files by their settings."""

from __future__ import annotations

from pipeline.config import Aptos2019, Files, Folder, Isic2017, Nci
from pipeline.datasets import aptos2019, folder, isic2017, nci
from pipeline.datasets.originals import Originals


def read(settings: Files) -> Originals:
    """What the source of a data set knows of its files; raises ConfigError on what is missing or wrong."""
    if isinstance(settings, Isic2017):
        return isic2017.read(settings)
    if isinstance(settings, Aptos2019):
        return aptos2019.read(settings)
    if isinstance(settings, Nci):
        return nci.read(settings)
    if isinstance(settings, Folder):
        return folder.read(settings)
    raise TypeError(settings)
