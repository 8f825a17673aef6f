"""Spelling: one class, patient or site that is written in two ways is one, or an error; it is never two by accident.

Three differences are safe to ignore, and a line says so: spaces, the form of accented letters in Unicode, and ".0" at
the end of whole numbers. Any other near-equality is an error, since only a person knows what is meant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable
from decimal import Decimal

import pandas as pd

from pipeline.errors import DataError, listed

NUMBER = re.compile(r"[+-]?\d{1,40}([.,]\d{1,40})?")
PARTS = re.compile(r"(\D*)(\d{0,18})")
BETWEEN = re.compile(r"(?<=\w)(\s+|_+|-)(?=\w)")  # of two words; elsewhere these signs have a meaning, as in HER2-


def unified(values: pd.Series, *, where: object, what: str, place: Callable[[Hashable], str]) -> pd.Series:
    """Return the values with one spelling each.

    Args:
        values: Text; None where there is none.
        where: The table or folder, for messages.
        what: The values in the plural: "labels".
        place: The place of a value, from the Series' index: "row 7".

    Raises:
        DataError: Two values are nearly equal.
    """
    spelled = _alike(values.dropna().unique(), _plain)
    other = {one: plain for plain, ones in spelled.items() if len(ones) > 1 for one in ones if one != plain}
    if other:
        pairs = [f"{one!r} as {plain!r}" for one, plain in other.items()]
        print(f"{where}: {len(pairs)} {what} are read as others, which are spelled differently:\n{listed(pairs)}")
        values = pd.Series([other.get(value, value) for value in values], values.index, dtype=object, name=values.name)
    near = [ones for ones in _alike(values.dropna().unique(), _near).values() if len(ones) > 1]
    if near:
        first = {value: place(index) for index, value in values[::-1].items()}
        found = [", ".join(f"{one!r} ({first[one]})" for one in ones) for ones in near]
        raise DataError(
            f"{where}: {len(found)} {what} are spelled in several ways. Fix: spell those that are the same alike, and "
            f"make the others differ more:\n{listed(found)}"
        )
    return values


def in_order(names: set[str]) -> list[str]:
    """Return names sorted with numbers by value: 0, 1, 2, 10; grade 2, grade 10."""
    if all(NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (Decimal(name.replace(",", ".")), name))
    return sorted(names, key=lambda name: ([(text, int(n or -1)) for text, n in PARTS.findall(name)], name))


def _alike(values: list[str], key: Callable[[str], Hashable]) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return found


def _plain(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", text)


def _near(text: str) -> Hashable:
    plain = unicodedata.normalize("NFKC", _plain(text)).casefold()
    return Decimal(plain.replace(",", ".")) if NUMBER.fullmatch(plain) else BETWEEN.sub(" ", plain)
