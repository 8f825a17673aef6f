"""Attributes as readings: numbers in ranges, rare values pooled, and nothing that tells a patient."""

import numpy as np
import pandas as pd
import pytest

from pipeline.screening.attributes import reading
from pipeline.screening.readings import FEW, NONE, RARE, SAME, Reading, of_numbers

COUNT = 200
UNKNOWN = pd.Series([pd.NA] * COUNT, dtype="Int64")
RNG = np.random.default_rng(0)


def read(words, patients=UNKNOWN):
    return reading("x", pd.Series(words, dtype=object), patients)


def test_words_are_values():
    found = read(["B", "A"] * 100)
    assert (found.values, found.how) == (["A", "B"], "2 values")
    assert found.codes.tolist() == [1, 0] * 100
    assert "`x`" in found.look


def test_many_numbers_are_cut_into_ranges_with_equally_many_images_and_without_their_extremes():
    ages = RNG.integers(18, 94, COUNT).astype(str)
    found = read(ages)
    assert found.how == "numbers, in 6 ranges"
    assert np.bincount(found.codes).min() > 25
    assert found.values[0].startswith("less than ")
    assert found.values[-1].endswith(" or more")
    assert not any(extreme in " ".join(found.values) for extreme in ("93", "18"))
    cut = float(found.values[-1].split()[0])
    assert np.array_equal(found.codes == 5, ages.astype(float) >= cut)


def test_numbers_may_have_a_comma_and_some_words():
    found = read([f"{n % 60},5" if n % 10 else "unknown" for n in range(COUNT)])
    assert found.how == "numbers, in 6 ranges; 20 images without a value are left out, 20 of which have a word"
    assert (found.codes == -1).sum() == 20
    assert isinstance(read([f"{n % 60}" if n % 10 == 0 else "nan" for n in range(COUNT)]), str)


def test_few_numbers_are_values():
    assert read(["0", "1"] * 100).values == ["0", "1"]
    assert read([str(0.5 * (n % 3)) for n in range(COUNT)]).values == ["0.0", "0.5", "1.0"]


def test_rare_values_are_pooled_and_never_shown():
    found = read(["A"] * 120 + ["B"] * 71 + ["Smith"] * (FEW - 1))
    assert found.values == ["A", "B", RARE]
    assert found.how == "2 values, and 1 rare ones together"
    assert "Smith" not in str(found)


def test_images_without_a_value_are_left_out_and_counted():
    found = read(["A", "B", None, None] * 50)
    assert found.how == "2 values; 100 images without a value are left out"
    assert found.codes.tolist() == [0, 1, -1, -1] * 50
    numbers = read([None if n % 4 == 0 else str(n / 7) for n in range(COUNT)])
    assert numbers.how == "numbers, in 5 ranges; 50 images without a value are left out"
    assert (numbers.codes == -1).sum() == 50


PATIENTS = pd.Series(np.arange(COUNT) // 20, dtype="Int64")
LEFT_OUT = {
    "constant": (["A"] * COUNT, UNKNOWN, SAME),
    "empty": ([None] * COUNT, UNKNOWN, NONE),
    "words of an id": ([f"id-{n}" for n in range(COUNT)], UNKNOWN, "an id, a date, or free text"),
    "dates": ([f"2020-{n % 12 + 1}-{n % 28 + 1}" for n in range(COUNT)], UNKNOWN, "an id, a date, or free text"),
    "numbers of an id": ([str(70000 + n) for n in range(COUNT)], UNKNOWN, "each image has another whole number: an id"),
    "one frequent value": (["A"] * 195 + ["B"] * 5, UNKNOWN, "only one value has at least 10 training images"),
    "names of patients": ([f"Smith {n // 20}" for n in range(COUNT)], PATIENTS, "it tells who the patient is"),
    "patients by number": ([str(4711 + n // 8) for n in range(COUNT)], PATIENTS // 1, None),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_says_nothing_or_who_is_left_out_with_a_reason(kind):
    words, patients, why = LEFT_OUT[kind]
    found = read(words, patients)
    if why is None:  # 8 images a number, 20 a patient: some numbers have two patients
        assert isinstance(found, Reading)
        found = read(words, pd.Series(np.arange(COUNT) // 8, dtype="Int64"))
        why = "it tells who the patient is"
    assert isinstance(found, str)
    assert why in found
    assert "Smith" not in found
    assert "47" not in found


def test_the_device_of_several_patients_is_a_reading():
    assert isinstance(read(["A", "B"] * 100, PATIENTS), Reading)
    only_some = PATIENTS.where(PATIENTS < 5)
    assert "who the patient is" in read([f"Smith {n // 20}" for n in range(COUNT)], only_some)


def test_numbers_are_rounded_so_that_years_stay_and_ids_do_not():
    years = of_numbers("x", 2000.0 + np.arange(COUNT) // 10, "")
    assert np.array_equal(years.codes == 0, np.arange(COUNT) // 10 < 3), "and 2003 is in the second range"
    assert years.values[:2] == ["less than 2003", "2003 to 2006"]
    ids = of_numbers("x", 7_012_345.0 + 1111 * np.arange(COUNT), "")
    assert ids.values[0] == "less than 7050000"
    assert of_numbers("x", np.arange(COUNT) / 7000, "").values[0] == "less than 0.00471"
