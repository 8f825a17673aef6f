"""`datasets` of params.yaml: one section per source, told apart by the word `source`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

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


def _finding(name: str) -> str:
    if not name or name != name.strip() or BETWEEN in name:
        raise ValueError(f"{name!r} cannot be a finding. Fix: use a name without {BETWEEN!r} and outer spaces")
    return name


NO_FINDING = "No Finding"  # as in ChestX-ray14
BETWEEN = "|"  # the findings of an image in our own tables; see pipeline/data/labels.py
Finding = Annotated[Text, AfterValidator(_finding)]


class Folder(Files):
    """See pipeline/sources/folder.py."""

    source: Literal["folder"]
    table: str | None = None  # below root; without a table, folders are named after classes
    columns: Columns = Columns()
    attributes: Attributes = []  # noqa: RUF012  # pydantic copies it
    classes: Annotated[list[Text], Field(min_length=2)] | None = None  # in their order; None: sorted, numbers by value
    findings: Annotated[list[Finding], Field(min_length=1)] | None = None  # there or not; None: one class an image
    separator: Annotated[str, Field(min_length=1)] | None = None  # in the column `label`; None: a column a finding
    no_finding: Text = NO_FINDING  # in the column `label`: none of them is there
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.2  # share of val and test together, for data without splits

    @model_validator(mode="after")
    def _findings_can_be_read(self) -> Folder:
        found = self.findings
        if self.separator is None and self.no_finding != NO_FINDING:
            raise ValueError("`no_finding` is for names in one column. Fix: set `separator` as well, or remove it")
        if found is None:
            if self.separator is not None:
                raise ValueError("`separator` separates findings. Fix: list their names under `findings`, or remove it")
            return self
        if self.table is None:
            raise ValueError("`findings` are read from a table. Fix: name it with `table`")
        if self.classes is not None:
            raise ValueError("`findings` and `classes` exclude each other. Fix: remove one of the two")
        if twice := sorted({name for name in found if found.count(name) > 1}):
            raise ValueError(f"`findings` names {', '.join(twice)} twice. Fix: name each finding once")
        if self.separator is None:
            if "label" in self.columns.model_fields_set:
                raise ValueError(
                    "each of the `findings` has a column, so `columns.label` is not read. Fix: remove it, or set "
                    "`separator` if that column holds the names of all findings"
                )
            taken = {*self.columns.model_dump(exclude={"label"}).values(), *self.attributes}
            if both := [name for name in found if name in taken]:
                raise ValueError(f"the column {both[0]!r} is a finding and something else. Fix: name it once")
        elif both := [name for name in found if self.separator in name or name == self.no_finding]:
            raise ValueError(
                f"the finding {both[0]!r} has the `separator` in its name, or is `no_finding`. Fix: set another "
                "`separator` or `no_finding`"
            )
        return self


# Data sets with a shortcut, drawn from the files of others
Drawn = DecoyDigits | DecoyMnist | Isic2017Patches | Isic2017PatchesNatural
Dataset = Annotated[Drawn | Isic2017 | Isic2017Ruler | Aptos2019 | Nci | Folder, Field(discriminator="source")]
