"""Attributes of a data set as readings. Ids and patients are left out, and their values are shown nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.screening.readings import RANGES, Reading, of_numbers, of_words


def reading(name: str, words: pd.Series, patients: pd.Series) -> Reading | str:
    """Return an attribute as a reading, or the reason why it is none.

    Args:
        name: The attribute.
        words: Its value for each training image; None where there is none.
        patients: The number of each image's patient, where it is known.
    """
    known = words.dropna()
    if known.nunique() > 1 and _tells_patients(known, patients[known.index]):
        return "each value has one patient only: it tells who the patient is"
    numbers = pd.to_numeric(words.str.replace(",", ".", n=1, regex=False), errors="coerce").astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    look = f"Look for what tells the values of `{name}` apart."
    if known.nunique() <= RANGES or numbers.count() <= len(known) / 2:
        return of_words(name, words, look)
    if known.is_unique and (numbers.dropna() % 1 == 0).all():
        return "each image has another whole number: an id"
    found = of_numbers(name, numbers.to_numpy(), look)
    if (others := len(known) - numbers.count()) and isinstance(found, Reading):
        return replace(found, how=f"{found.how}, {others} of which have a word")
    return found


def _tells_patients(words: pd.Series, patients: pd.Series) -> bool:
    """Return whether no value belongs to two patients, where patients have several images."""
    known = patients.dropna()
    if known.empty or known.is_unique:
        return False
    return bool(known.groupby(words[known.index]).nunique().max() == 1)
