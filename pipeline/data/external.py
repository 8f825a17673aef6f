"""External test sets: other prepared data sets, on which a scenario's final networks are tested, and nothing else.

All of their images count, of any split. None of them may be an image or a patient of the scenario's data set.
Prepared data do not tell patients, so patients are compared by the tables of originals, which only the machine that
prepared the data has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pipeline.config import Config, External
from pipeline.data import labels, own_csv, prepared
from pipeline.data.prepared import EXTERNAL, TIED, Prepared, patient_digest, picture_of
from pipeline.errors import ConfigError, DataError, listed, naming_damage
from pipeline.paths import originals_file, prepared_dir


def read(config: Config, scenario: str, data: Prepared) -> dict[str, Prepared]:
    """Return the external sets of a scenario by split (`external-ph2`), with the scenario's classes.

    Args:
        config: All settings.
        scenario: The scenario's name.
        data: The scenario's own data set.

    Raises:
        ConfigError: A class of an external set is none of the scenario's.
        DataError: An image or a patient is in both data sets.
    """
    settings = config.scenario(scenario)
    found = {}
    for one in settings.external:
        other = _mapped(prepared.read(prepared_dir(one.dataset)), one, data.classes)
        _check_pictures(one.dataset, other, settings.dataset, data)
        _check_patients(one.dataset, other, settings.dataset)
        found[f"{EXTERNAL}{one.dataset}"] = other
    return found


def _mapped(other: Prepared, settings: External, classes: list[str]) -> Prepared:
    """Return the data set with these classes; images of a class that becomes null are left out."""
    name = settings.dataset
    if strange := [theirs for theirs in settings.classes if theirs not in other.classes]:
        raise ConfigError(
            f"`external` maps classes that {name!r} does not have: {', '.join(strange)}. Fix: correct them; it has "
            f"{', '.join(other.classes)}."
        )
    becomes = {theirs: settings.classes.get(theirs, theirs) for theirs in other.classes}
    if unknown := [f"{theirs} → {ours}" for theirs, ours in becomes.items() if ours not in (None, *classes)]:
        raise ConfigError(
            f"{name!r} has classes that the scenario, with {', '.join(classes)}, does not have. Fix: map them under "
            f"`external`, as {{dataset: {name}, classes: {{{unknown[0].split(' ')[0]}: {classes[0]}}}}}, or to null to "
            f"leave their images out:\n{listed(unknown)}"
        )
    if other.findings:
        return _renamed(other, becomes, classes)
    index = other.index.assign(label=other.index["label"].map(becomes))
    left = index[index["label"].notna()]
    if left.empty:
        raise ConfigError(f"`external` leaves no image of {name!r}. Fix: map a class to one of {', '.join(classes)}.")
    if len(left) < len(index):
        print(f"{EXTERNAL}{name}: {len(index) - len(left)} images of classes that are null are left out")
    return replace(other, classes=classes, index=left)


def _renamed(other: Prepared, becomes: Mapping[str, str | None], findings: list[str]) -> Prepared:
    """Return a data set of findings with these names; a finding that becomes null is not measured."""
    if unmeasured := [name for name in findings if name not in becomes.values()]:
        raise ConfigError(
            f"{other.folder.name!r} does not say where {', '.join(unmeasured)} is there. Fix: map one of its findings "
            f"to it under `external`, of {', '.join(other.classes)}, or name another data set."
        )
    found = [{becomes[name] for name in labels.named(label)} for label in other.index["label"]]
    index = other.index.assign(label=[labels.joined(names, findings) for names in found])
    return replace(other, classes=findings, index=index)


def _check_pictures(name: str, other: Prepared, own: str, data: Prepared) -> None:
    ours = {picture_of(one) for one in data.index["id"] if re.match(r"[0-9a-f]{12}(-|$)", one)}  # ids that are digests
    both = [one for one in other.index["id"] if picture_of(one) in ours]
    if both:
        raise DataError(
            f"{len(both)} images of the external set {name!r} are in {own!r} too. Fix: take them out of {name!r}; "
            f"{originals_file(name)} has the files of these images:\n{listed(both)}"
        )


def _check_patients(name: str, other: Prepared, own: str) -> None:
    theirs, ours = _patients(name), _patients(own)
    kept = set(other.index["id"])
    both = sorted({image for patient in theirs.keys() & ours.keys() for image in theirs[patient] if image in kept})
    if both:
        raise DataError(
            f"{len(both)} images of the external set {name!r} are of patients who are in {own!r} too. Fix: take them "
            f"out of {name!r}; {originals_file(name)} has the files of these images. If other patients have the same "
            f"ids, rename the ids in one table:\n{listed(both)}"
        )
    if not theirs or not ours:
        print(
            f"warning: patients of {name!r} and {own!r} are not compared, because the groups of one of them are not "
            "known on this machine"
        )


def _patients(dataset: str) -> dict[str, list[str]]:
    """Return the ids of each patient's images; nothing where the table of originals is not on this machine."""
    path = originals_file(dataset)
    if not path.exists():
        return {}
    with naming_damage(path):
        table = own_csv.read(own_csv.text_of(path), may_lack=["group"]).dropna(subset="group")
        found: dict[str, list[str]] = {}
        for image, group in zip(table["id"], table["group"], strict=True):
            for patient in str(group).split(TIED):
                is_digest = re.fullmatch(r"patient-[0-9a-f]{16}", patient)
                found.setdefault(patient if is_digest else patient_digest(patient), []).append(image)
        return found
