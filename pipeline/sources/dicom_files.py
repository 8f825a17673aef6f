"""DICOM files among a data set's files: which they are, whose they are, and the header's warnings.

A patient's id ties images into a group, whose name is a digest of the id. Nothing else of a header is kept, and no
message shows more of a header than its technical values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.data.prepared import TIED, patient_digest
from pipeline.errors import DataError, listed
from pipeline.sources import files
from pipeline.sources.decoding import DICOM_START, is_dicom
from pipeline.sources.source import Original

TAGS = ["SOPClassUID", "SOPInstanceUID", "PatientID", "Modality", "BurnedInAnnotation", "Rows"]
WRITTEN_ON = ("US", "SC", "OT", "XC", "ES")  # modalities: ultrasound, screenshots, other, photographs, endoscopy


@dataclass(frozen=True)
class Header:
    """The part of a DICOM file's header that preparing needs; the defaults stand for an unreadable header.

    ``kind`` is the name of the SOP class. ``windows`` is their number; None for colours.
    """

    kind: str = ""
    uid: str = ""
    patient: str = ""
    modality: str = ""
    burned_in: str = ""
    windows: int | None = None
    has_image: bool = True


def headers(present: list[Path]) -> dict[Path, Header]:
    """Return the header of each DICOM file, which is found by its content, and print the files without an image."""
    found = [path for path in present if is_dicom(_start(path))]
    if not found:
        return {}
    try:
        import pydicom  # noqa: F401  # an extra
    except ImportError:
        print(f"warning: {len(found)} files are DICOM, and pydicom is not installed. Run `pip install -e '.[dicom]'`")
        return {path: Header() for path in found}
    scans = {path: _header(path) for path in found}
    others = Counter(header.kind for header in scans.values() if not header.has_image)
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        print(f"warning: {others.total()} DICOM files hold no image, and are left out ({kinds})")
    return scans


def images(present: list[Path], scans: Mapping[Path, Header]) -> set[Path]:
    """Return the images among files, by extension or as DICOM."""
    return {path for path in present if (scans[path].has_image if path in scans else files.is_image(path))}


def with_patients(rows: list[Original], scans: Mapping[Path, Header]) -> list[Original]:
    """Return the rows with groups that tie all images of a patient, beside the groups that the table has.

    Raises DataError if two images are one SOP instance.
    """
    dicom = [row for row in rows if row.path in scans]
    if not dicom:
        return rows
    _check_uids(dicom, scans)
    patients = {row.name: patient_digest(scans[row.path].patient) for row in dicom if scans[row.path].patient}
    if len(dicom) > 1 and len(patients) == len(dicom) and len(set(patients.values())) == 1:
        print(
            f"warning: all {len(dicom)} DICOM files have one patient id, as after anonymising, so the id makes no "
            "groups. Name the patient in a column `group`, or images of one patient may get into several splits"
        )
        return rows
    if without := [row.path for row in dicom if row.name not in patients and row.group is None]:
        print(
            f"warning: {len(without)} DICOM files have no patient id. Name the patient in a column `group`, or images "
            f"of one patient may get into several splits:\n{listed(without)}"
        )
    names = _tied([(row.group, patients.get(row.name)) for row in rows])
    grouped = [replace(row, group=names.get(row.group or patients.get(row.name))) for row in rows]
    count = len({row.group for row in grouped if row.name in patients})
    print(f"{len(patients)} DICOM files make {count} groups by the patient ids in their headers", flush=True)
    return grouped


def tell(rows: list[Original], scans: Mapping[Path, Header], *, has_window: bool) -> None:
    """Print what the headers say of windows, unless the settings have one, and of text that is burnt in."""
    dicom = {row.path: scans[row.path] for row in rows if row.path in scans}
    burned = [path for path, header in dicom.items() if header.burned_in == "YES"]
    silent = [header.modality for header in dicom.values() if not header.burned_in and header.modality in WRITTEN_ON]
    several = [path for path, header in dicom.items() if (header.windows or 0) > 1]
    none = [path for path, header in dicom.items() if header.windows == 0]
    if burned:
        print(
            f"warning: {len(burned)} images have text burnt in, says their header (BurnedInAnnotation). It may name "
            f"patients, and experts would see it. Remove the text or the images:\n{listed(burned)}"
        )
    if silent:
        print(
            f"{len(silent)} images are of kinds that often have text burnt in ({', '.join(sorted(set(silent)))}), and "
            "their header does not say whether they have. Look at some of them"
        )
    if several and not has_window:
        print(f"{len(several)} DICOM files have several windows: the first one is used (`window` sets one for all)")
    if none and not has_window:
        print(
            f"warning: {len(none)} DICOM files have no usable window. Each is shown from its lowest to its highest "
            f"value; `window` sets one window for all:\n{listed(none)}"
        )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DICOM_START)
    except OSError:  # decoding will say so
        return b""


def _header(path: Path) -> Header:
    from pipeline.sources import dicom

    try:
        tags = [*TAGS, "PhotometricInterpretation", *dicom.WINDOW]
        read = dicom.read(path, tags, stop_before_pixels=True)
        text = {tag: str(read.get(tag) or "").strip() for tag in TAGS[:5]}
        kind = dicom.kind(read)
        return Header(
            kind=kind,
            uid=text["SOPInstanceUID"],
            patient=text["PatientID"],
            modality="SC" if "Secondary Capture" in kind else text["Modality"],
            burned_in=text["BurnedInAnnotation"].upper(),
            windows=dicom.windows(read),
            has_image="Rows" in read or "Image" in kind or "SOPClassUID" not in read,
        )
    except Exception:  # damaged files raise errors of many types, and decoding will name them
        return Header()


def _check_uids(rows: list[Original], scans: Mapping[Path, Header]) -> None:
    called: dict[str, list[Path]] = {}
    for row in rows:
        if uid := scans[row.path].uid:
            called.setdefault(uid, []).append(row.path)
    twice = [", ".join(map(str, paths)) for paths in called.values() if len(paths) > 1]
    if twice:
        raise DataError(
            f"{len(twice)} SOP instances occur in several DICOM files. Fix: keep one file of each:\n{listed(twice)}"
        )


def _tied(pairs: list[tuple[str | None, str | None]]) -> dict[str | None, str]:
    """Return the name of the whole for each group and patient: the names of all that are tied, however indirectly."""
    whole: dict[str, set[str]] = {}
    for pair in pairs:
        names = {name for name in pair if name}
        together = names.union(*(whole.get(name, set()) for name in names))
        whole |= dict.fromkeys(together, together)
    return {name: TIED.join(sorted(together)) for name, together in whole.items()}
