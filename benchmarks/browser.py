"""An expert's effort for an image, in a real browser: three experts at once, and two rounds of which one is pre-filled.

The rounds are tests whose script does not read, so the seconds are a lower bound: the page's own time. They need the
packages of `make test`, and chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.measure import Figure, Figures
from benchmarks.project import ROOT

TESTS = ROOT / "tests/labelstudio/client"
THREE, PREFILLED = TESTS / "test_three_experts.py", TESTS / "test_prefill.py"


def recorded(name: str, test: Path) -> Figure:
    """Return a number that the test records under this name."""
    return Figure.of([_recorded(test)[name]])


FIGURES: Figures = {
    **{f"browser_{name}_per_image": partial(recorded, name, THREE) for name in ("seconds", "keys", "clicks")},
    **{
        f"expert_{name}_{number}_round": partial(recorded, f"expert_{name}_{number}_round", PREFILLED)
        for name in ("gestures", "s")
        for number in ("first", "next")
    },
}


@cache
def _recorded(test: Path) -> dict[str, float]:
    """Return the properties that a test records."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        command = [sys.executable, "-m", "pytest", "-q", str(test), "-m", "browser", f"--junitxml={record}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{test} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        properties = ElementTree.parse(record).iter("property")
        return {str(found.get("name")): float(str(found.get("value"))) for found in properties}
