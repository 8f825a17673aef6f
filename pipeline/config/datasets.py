"""`datasets` of params.yaml: one section per source, told apart by the word `source`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline import choices
from pipeline.config.sections import Section


class Source(Section):
    """Settings of every data set. ``root``: its files; DVC prepares the data again when they change."""

    root: str
    size: Annotated[int, Field(ge=32, le=1024)]  # side of the prepared square images, pixels


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"an attribute cannot be called {name!r}. Fix: rename the table's column")
    return name


RESERVED = ("id", "name", "label", "split", "group", "row", "evidence", "digest")  # columns of index.csv
Attributes = list[Annotated[str, AfterValidator(_free)]]  # columns of the table; metrics have a row for each value


class DecoyDigits(Source):
    """The embedded data set; see `pipeline/sources/decoy_digits.py`."""

    source: Literal["decoy-digits"]


class DecoyMnist(Source):
    """See pipeline/sources/decoy_mnist.py."""

    source: Literal["decoy-mnist"]
    size: Literal[28] = 28


class Isic2017Patches(Source):
    """See pipeline/sources/isic2017_patches.py."""

    source: Literal["isic2017-patches"]


class Isic2017PatchesNatural(Source):
    """See pipeline/sources/isic2017_patches_natural.py."""

    source: Literal["isic2017-patches-natural"]
    artefacts: str = "artefacts.csv"  # the table of artefacts, below root
    patch_masks: str = "artefact_masks/band_aid"  # a folder of masks, below root


class Window(Section):
    """The grey values of DICOM files that are shown, in units of the rescaled values (Hounsfield, say)."""

    center: float
    width: Annotated[float, Field(gt=0)]


class Files(Source):
    """A data set of image files below ``root``."""

    fit: choices.Fit = "stretch"  # stretch both sides to size, or crop the middle of the longer side
    duplicates: choices.Duplicates = "error"  # the same picture in several official splits
    split_seed: Annotated[int, Field(ge=0)] = 0  # for sources without official splits
    white: Annotated[int, Field(ge=1, le=65535)] | None = None  # of 16-bit images; None: by their largest value
    window: Window | None = None  # of DICOM files; None: each file's own
    mask_values: Annotated[list[int], Field(min_length=1)] | None = None  # evidence; see pipeline/sources/evidence.py


class Isic2017(Files):
    """See pipeline/sources/isic2017.py."""

    source: Literal["isic2017"]
    table: str | None = None  # of splits, below root; without it, the challenge's own splits
    attributes: Attributes = []  # noqa: RUF012  # pydantic copies it
    classes: Literal["melanoma", "seborrheic-keratosis", "melanoma-or-seborrheic-keratosis"] = "melanoma"


class Isic2017Ruler(Files):
    """See pipeline/sources/isic2017_ruler.py."""

    source: Literal["isic2017-ruler"]
    attributes: ClassVar = ("ruler",)
    artefacts: str = "artefacts.csv"  # the table of artefacts, below root


class Aptos2019(Files):
    """See pipeline/sources/aptos2019.py."""

    source: Literal["aptos2019"]
    masks: str | None = None  # a folder of evidence masks, below root


class Nci(Files):
    """See pipeline/sources/nci.py."""

    source: Literal["nci"]
    covariates: str  # the table, below root
    patient: str | None = None  # the column that names the patient


class Columns(Section):
    """The names of a table's columns; see pipeline/sources/folder.py."""

    image: str = "image"
    label: str = "label"
    split: str = "split"
    group: str = "group"
    mask: str = "mask"


# A class may be called 0, which is a number in YAML
Text = Annotated[str, BeforeValidator(lambda given: str(given) if type(given) in (int, float) else given)]


class Folder(Files):
    """See pipeline/sources/folder.py."""

    source: Literal["folder"]
    table: str | None = None  # below root; without a table, folders are named after classes
    columns: Columns = Columns()
    attributes: Attributes = []  # noqa: RUF012  # pydantic copies it
    classes: Annotated[list[Text], Field(min_length=2)] | None = None  # in their order; None: sorted, numbers by value
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.2  # share of val and test together, for data without splits


# Data sets with a shortcut, drawn from the files of others
Drawn = DecoyDigits | DecoyMnist | Isic2017Patches | Isic2017PatchesNatural
Dataset = Annotated[Drawn | Isic2017 | Isic2017Ruler | Aptos2019 | Nci | Folder, Field(discriminator="source")]
