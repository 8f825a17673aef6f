"""Spelling: what is the same has one spelling, what is nearly the same is an error, and what differs stays."""

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.sources import spelling


def unified(*values):
    series = pd.Series(values, range(2, 2 + len(values)), dtype=object)
    return spelling.unified(series, where="x.csv", what="labels", place=lambda row: f"row {row}").tolist()


@pytest.mark.parametrize(
    ("values", "one"),
    [
        (["0", "0.0", "1", "1.0"], ["0", "0", "1", "1"]),
        (["a  b", "a b"], ["a b", "a b"]),
        (["a\u00a0b", "a b"], ["a b", "a b"]),
        (["na\u0308vus", "n\u00e4vus"], ["n\u00e4vus", "n\u00e4vus"]),
        (["1.0", "2.0", None], ["1.0", "2.0", None]),
    ],
)
def test_what_is_safe_is_made_equal_and_said(values, one, capsys):
    assert unified(*values) == one
    said = capsys.readouterr().out
    assert ("x.csv: " in said and "labels are read as others" in said) == (values != one)


@pytest.mark.parametrize(
    "values",
    [("Benign", "benign"), ("P1", "p1"), ("01", "1"), ("stage_1", "stage 1"), ("1,5", "1.5"), ("ﬁne", "fine")],
)
def test_near_equality_is_an_error_with_the_rows(values):
    with pytest.raises(DataError, match=r"x\.csv: 1 labels are spelled in several ways") as error:
        unified("else", *values)
    assert f"  {values[0]!r} (row 3), {values[1]!r} (row 4)" in str(error.value)


@pytest.mark.parametrize(
    "values", [("HER2+", "HER2-", "HER2"), ("-1", "1"), ("12345678901234567890", "12345678901234567891"), ("a", "b")]
)
def test_what_differs_stays(values, capsys):
    assert unified(*values) == list(values)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        ({str(n) for n in range(11)}, [str(n) for n in range(11)]),
        ({"-1", "0.5", "10", "2"}, ["-1", "0.5", "2", "10"]),
        ({"grade 10", "grade 2", "grade 1"}, ["grade 1", "grade 2", "grade 10"]),
        ({"b", "a", "B", "a b"}, sorted({"b", "a", "B", "a b"})),
    ],
)
def test_numbers_are_sorted_by_value(names, ordered):
    assert spelling.in_order(names) == ordered
