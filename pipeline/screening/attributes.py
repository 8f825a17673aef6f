"""Attributes of a data set as readings. Ids and patients are left out, and their values are shown nowhere."""

from __future__ import annotations

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
    numbers = pd.to_numeric(words, errors="coerce").astype(float)
    look = f"Look for what tells the values of `{name}` apart."
    if known.nunique() <= RANGES or not np.isfinite(numbers[known.index]).all():
        return of_words(name, words, look)
    if known.is_unique and (numbers[known.index] % 1 == 0).all():
        return "each image has another whole number: an id"
    return of_numbers(name, numbers.to_numpy(), look)


def _tells_patients(words: pd.Series, patients: pd.Series) -> bool:
    """Return whether no value belongs to two patients, where patients have several images."""
    known = patients.dropna()
    if known.empty or known.is_unique:
        return False
    return bool(known.groupby(words[known.index]).nunique().max() == 1)
