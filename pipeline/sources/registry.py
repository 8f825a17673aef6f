"""The sources of data sets by their settings."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import Aptos2019, DecoyDigits, DecoyMnist, Drawn, Files, Folder, Isic2017, Nci
from pipeline.data.prepared import Item
from pipeline.sources import aptos2019, decoy_digits, decoy_mnist, folder, isic2017, isic2017_patches, nci
from pipeline.sources.originals import Originals


def drawn(settings: Drawn) -> tuple[list[str], int, Iterator[Item]]:
    """Class names, how many images there are, and the images, of a data set that is made here."""
    if isinstance(settings, DecoyDigits):
        return decoy_digits.CLASSES, decoy_digits.COUNT, decoy_digits.items(settings.size)
    if isinstance(settings, DecoyMnist):
        return decoy_mnist.CLASSES, decoy_mnist.COUNT, decoy_mnist.items(settings)
    return isic2017_patches.CLASSES, *isic2017_patches.items(settings)


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
