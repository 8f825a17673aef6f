"""examples/own_loop.py runs as it stands, and docs/own-loop.md shows it."""

import re
import runpy

import pytest
from fakes.checkout import ROOT

pytestmark = pytest.mark.slow

FILE = "examples/own_loop.py"


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_example_runs_and_makes_the_network_look_away(capsys):
    runpy.run_path(str(ROOT / FILE), run_name="__main__")
    said = capsys.readouterr().out
    marked, without, with_feedback = map(float, re.findall(r"(\d+(?:\.\d+)?) (?:of|without|with)\b", said))
    assert marked >= 5
    assert with_feedback > without + 0.03


def test_the_page_shows_the_example():
    page = (ROOT / "docs" / "own-loop.md").read_text(encoding="utf-8")
    assert re.findall(r'^--8<-- "(.*)"$', page, flags=re.MULTILINE) == [f"{FILE}:method", FILE]
    assert {"[start:method]", "[end:method]"} <= set(re.findall(r"\[\w+:\w+\]", (ROOT / FILE).read_text()))
