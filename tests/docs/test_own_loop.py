"""examples/own_loop.py runs as it stands, and docs/own-loop.md shows it."""

import os
import re
import subprocess
import sys

import pytest
from fakes.checkout import ROOT

pytestmark = pytest.mark.slow

FILE = "examples/own_loop.py"


def test_the_example_runs_and_makes_the_network_look_away():
    command = [sys.executable, "-W", "error::UserWarning", FILE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    marked, without, with_feedback = map(float, re.findall(r"(\d+(?:\.\d+)?) (?:of|without|with)\b", done.stdout))
    assert marked >= 5
    assert with_feedback > without + 0.03


def test_the_page_shows_the_example():
    page = (ROOT / "docs" / "own-loop.md").read_text(encoding="utf-8")
    assert re.findall(r'^--8<-- "(.*)"$', page, flags=re.MULTILINE) == [f"{FILE}:method", FILE]
    assert {"[start:method]", "[end:method]"} <= set(re.findall(r"\[\w+:\w+\]", (ROOT / FILE).read_text()))
