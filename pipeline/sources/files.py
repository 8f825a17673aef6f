"""Files below a data folder: all that a person put there, and nothing outside of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from pipeline.errors import DataError, listed

JUNK = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")  # files that archives and file managers add
BY_EXTRAS = (".dcm", ".dicom", ".heic", ".heif", ".hif")  # images whose decoders are extras
CACHED = re.compile(r"/(files/md5|cache)/[0-9a-f]{2}/[0-9a-f]{30}$")  # DVC's cache: a file's name is its digest


def below(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted, without hidden ones.

    Raises DataError if a folder cannot be read or is a link to the outside, or if a name is not UTF-8: DVC cannot
    record such a name.
    """
    found: list[Path] = []
    unreadable: list[OSError] = []
    linked = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not is_junk(name)]
        linked += [Path(place, name) for name in folders if not is_inside(folder, Path(place, name))]
        found += [Path(place, name) for name in names if not is_junk(name)]
    if unreadable:
        raise DataError(
            f"{len(unreadable)} folders cannot be read. Fix: change their permissions:\n"
            f"{listed(f'{error.filename}: {error.strerror}' for error in unreadable)}"
        )
    foreign = [path for path in found if not _is_utf8(path)]
    if foreign:
        raise DataError(
            f"{folder}: {len(foreign)} names of files are not UTF-8. Fix: rename them, for example with "
            f"`convmv -r -f latin1 -t utf8 --notest`:\n{listed(sorted(foreign))}"
        )
    if linked:
        raise DataError(
            f"{len(linked)} folders are links that lead out of the data folder {folder}. Fix: move these folders into "
            f"it:\n{listed(sorted(linked))}"
        )
    return sorted(path for path in found if path.is_file())


def is_image(path: Path) -> bool:
    """Return whether a file has an image's extension."""
    return path.suffix.lower() in BY_EXTRAS or path.suffix.lower() in Image.registered_extensions()


def by_extension(paths: Iterable[Path]) -> str:
    """Return the numbers of files by extension, as text: "12 .dcm, 1 without extension"."""
    counts = Counter(path.suffix.lower() or "without extension" for path in paths)
    return ", ".join(f"{count} {extension}" for extension, count in counts.most_common())


def find(
    root: Path,
    names: list[str],
    present: list[Path],
    *,
    anywhere: bool = True,
    also: Mapping[Path, str] = MappingProxyType({}),
) -> dict[str, Path]:
    """Return the file of each name that has one.

    Args:
        root: The data folder.
        names: Paths below root.
        present: The files to choose from.
        anywhere: A name may also be a file's name, with or without extension, in any folder below root.
        also: Further names of files.

    Raises:
        DataError: A path leads out of root, or a name fits several files.
    """
    outside = [name for name in names if not is_inside(root, root / name)]
    if outside:
        raise DataError(
            f"{len(outside)} images are outside of the data folder {root}. Fix: move them into it:\n{listed(outside)}"
        )
    called: dict[str, set[Path]] = {}  # all names of a file → the files with this name
    for path in present:
        place = path.relative_to(root).as_posix()
        for name in {place, path.name, path.stem, also.get(path, place)} if anywhere else {place}:
            called.setdefault(name, set()).add(path)
    folded: dict[str, set[Path]] = {}
    for name, paths in called.items():
        folded.setdefault(name.casefold(), set()).update(paths)
    found, several, otherwise = {}, [], []
    for name in names:
        place = os.path.normpath(name.replace("\\", "/"))
        fits = called.get(name) or called.get(place) or folded.get(place.casefold(), set())
        exact = [path for path in fits if path == root / place]
        if len(fits) > 1 and not exact:
            several.append(f"{name}: {', '.join(map(str, sorted(fits)))}")
        elif fits:
            found[name] = exact[0] if exact else next(iter(fits))
            if name not in called and place not in called:
                otherwise.append(f"{name}: {found[name]}")
    if several:
        raise DataError(
            f"{len(several)} names fit several files below {root}. Fix: give paths instead:\n{listed(several)}"
        )
    if otherwise:
        print(f"{len(otherwise)} names have other capital letters than their files:\n{listed(otherwise)}")
    return found


def is_inside(root: Path, path: Path) -> bool:
    """Return whether a path is below ``root`` after following links; a link into DVC's cache stays inside."""
    if path.is_symlink() and CACHED.search(os.readlink(path)):
        path = path.parent
    return path.resolve().is_relative_to(root.resolve())


def inside(root: Path, name: str) -> Path:
    """Return a path below ``root``; raise DataError if the path leads elsewhere, directly or through a link."""
    path = root / name
    if not is_inside(root, path):
        raise DataError(
            f"{name!r} leads out of the data folder {root}. Fix: move the file there, and name it from there."
        )
    return path


def is_junk(name: str) -> bool:
    """Return whether a file or folder is hidden, or was added by an archive or a file manager."""
    return name.startswith(".") or name in JUNK


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
