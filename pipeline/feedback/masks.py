"""The masks in force in a run: the experts' marks of all rounds so far, as training reads them.

An entry is one image in one round. Later rounds may add marks to an image and remove none. An answer that marks the
evidence is the exception: it judges the whole image, and replaces the marks of earlier rounds. Marks that were spread
to an image without an answer hold until the next round spreads anew, or an expert judges the image. An entry holds its
areas packed, in some hundred bytes each; a step of training unpacks the areas of its batch only.

With several findings, an entry belongs to one of them. An image becomes a query once, so that it has one mask, and the
mask has one finding.
"""

from __future__ import annotations

import sys
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.choices import assert_known
from pipeline.data.prepared import picture_of
from pipeline.errors import DamagedFileError

# judged: an expert's answer; evidence: an answer that marks the evidence, so that W is everything else;
# unclear: no expert could judge the image; spread: learned from the answers so far
Kind = Literal["judged", "evidence", "unclear", "spread"]
T = TypeVar("T")
BITS, FLOATS = 0, 1  # how an area is packed: one bit per pixel if it holds 0 and 1 only


@dataclass(frozen=True, slots=True)
class Entry:
    """One image's mask of one round, and the regions that experts judged; build it with ``Entry.of``."""

    round: str
    image_id: str
    packed_mask: bytes
    packed_asked: bytes
    kind: Kind = "judged"
    finding: str = ""

    @classmethod
    def of(
        cls,
        round: str,
        image_id: str,
        mask: NDArray[Any],
        asked: NDArray[np.bool_],
        kind: Kind = "judged",
        finding: str = "",
    ) -> Entry:
        """Return the entry of one image in one round.

        Args:
            round: The round's number, two digits.
            image_id: The image.
            mask: W (S, S), 0..1.
            asked: The pixels (S, S) that experts were shown.
            kind: Where the mask comes from.
            finding: The finding that the mask belongs to; "" for classes.

        Raises:
            ValueError: The kind is unknown.
        """
        assert_known(kind, Kind, "kind of entry")
        return cls(round, image_id, _packed(mask), _packed(asked), kind, finding)

    @property
    def mask(self) -> NDArray[np.float32]:
        """W (S, S): 1 where the model must not look, less where experts disagree."""
        return _unpacked(self.packed_mask)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """The pixels (S, S) that experts were shown."""
        return _unpacked(self.packed_asked).astype(bool)

    @property
    def judged(self) -> bool:
        """True if experts answered and could judge the image."""
        return self.kind in ("judged", "evidence")

    def with_mask(self, mask: NDArray[Any]) -> Entry:
        """Return the same entry with another W (S, S)."""
        return replace(self, packed_mask=_packed(mask))


def in_force(entries: list[Entry]) -> Mapping[str, NDArray[np.float32]]:
    """Return W (S, S) by image id, for images with a mark only.

    An image that was a query has the maximum over all rounds, from its evidence on. Any other image has the marks that
    the last round spread to it.
    """
    known, last = asked(entries), max((entry.round for entry in entries), default="")
    valid = [e for e in entries if e.kind != "spread" or (e.round == last and e.image_id not in known)]
    return _Union([entry for entry in _standing(valid) if entry.mask.any()], lambda entry: entry.mask)


def marked(entries: list[Entry]) -> Mapping[str, NDArray[np.float32]]:
    """Return W (S, S) by image id as experts marked it, nothing spread: the maximum over all rounds, as in force."""
    return _Union([e for e in _standing(entries) if e.kind != "spread" and e.mask.any()], lambda entry: entry.mask)


def asked(entries: list[Entry]) -> Mapping[str, NDArray[np.bool_]]:
    """Return the pixels (S, S) that experts were shown, by image id, all rounds together."""
    return _Union([entry for entry in entries if entry.kind != "spread"], lambda entry: entry.asked)


def findings(entries: list[Entry]) -> dict[str, str]:
    """Return the finding that each image's mask belongs to, by image id; nothing for classes.

    Raises DamagedFileError if the masks of an image belong to two findings.
    """
    found: dict[str, str] = {}
    for entry in entries:
        if entry.finding and found.setdefault(entry.image_id, entry.finding) != entry.finding:
            raise DamagedFileError(
                f"the masks of {entry.image_id} belong to {found[entry.image_id]} in one round, and to {entry.finding} "
                "in another. Fix: run `dvc repro`, which selects the later round's queries again"
            )
    return found


def on_copies(areas: Mapping[str, T], ids: Iterable[str]) -> Mapping[str, T]:
    """Return these areas or findings, and the same one for each other image that is a copy of a picture with one.

    Experts are asked on one copy only, and their answer is about the picture.
    """
    of_picture = {picture_of(image_id): image_id for image_id in areas}
    copies = {i: of_picture[picture_of(i)] for i in ids if i not in areas and picture_of(i) in of_picture}
    if not copies:
        return areas
    return ChainMap({i: areas[original] for i, original in copies.items()}, cast(dict[str, T], areas))


def write(path: Path, entries: list[Entry]) -> None:
    """Write the entries; equal entries give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    areas = [area for entry in entries for area in (entry.packed_mask, entry.packed_asked)]
    about: dict[str, Any] = {}
    if findings(entries):
        about["finding"] = np.array([entry.finding for entry in entries], dtype=str)
    np.savez(
        path,
        round=np.array([entry.round for entry in entries], dtype=str),
        image_id=np.array([entry.image_id for entry in entries], dtype=str),
        kind=np.array([entry.kind for entry in entries], dtype=str),
        end=np.cumsum([len(area) for area in areas], dtype=np.int64),
        packed=np.frombuffer(b"".join(areas), np.uint8),
        **about,
    )


def read(path: Path) -> list[Entry]:
    """Read the entries of a file; raise DamagedFileError if the file is missing or damaged."""
    try:
        with np.load(path) as stored:
            packed, ends = stored["packed"].tobytes(), stored["end"].tolist()
            areas = [packed[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            # Files from before marks were spread have no kinds.
            kinds = stored["kind"] if "kind" in stored else np.full(len(stored["round"]), "judged")
            about = stored["finding"] if "finding" in stored else np.full(len(kinds), "")
            rows = zip(stored["round"], stored["image_id"], areas[::2], areas[1::2], kinds, about, strict=True)
            return [
                Entry(sys.intern(str(n)), str(i), w, asked, cast(Kind, str(kind)), sys.intern(str(finding)))
                for n, i, w, asked, kind, finding in rows
            ]
    except Exception as error:  # damaged files raise errors of many types
        raise DamagedFileError(f"{path} holds no masks: it is missing or damaged. Fix: run `dvc repro`") from error


def _standing(entries: list[Entry]) -> list[Entry]:
    """Return the entries that no later evidence on their image replaces."""
    decided = {entry.image_id: n for n, entry in enumerate(entries) if entry.kind == "evidence"}
    return [entry for n, entry in enumerate(entries) if n >= decided.get(entry.image_id, 0)]


class _Union(Mapping[str, NDArray[Any]]):
    """The union of the areas of each image's entries, by image id; unpacked at each access."""

    def __init__(self, entries: list[Entry], area: Callable[[Entry], NDArray[Any]]) -> None:
        self._area = area
        self._entries: dict[str, list[Entry]] = {}
        for entry in entries:
            self._entries.setdefault(entry.image_id, []).append(entry)

    def __getitem__(self, image_id: str) -> NDArray[Any]:
        together: NDArray[Any] = np.maximum.reduce([self._area(entry) for entry in self._entries[image_id]])
        return together

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _packed(area: NDArray[Any]) -> bytes:
    values = area.astype(np.float32)
    bits = np.array_equal(values, values > 0)
    content = np.packbits(values > 0) if bits else values
    return bytes([BITS if bits else FLOATS, *len(area).to_bytes(2, "big")]) + zlib.compress(content.tobytes())


def _unpacked(packed: bytes) -> NDArray[np.float32]:
    kind, size, content = packed[0], int.from_bytes(packed[1:3], "big"), zlib.decompress(packed[3:])
    if kind == BITS:
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=size * size)
        return bits.reshape(size, size).astype(np.float32)
    return np.frombuffer(content, np.float32).reshape(size, size)
