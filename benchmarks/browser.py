"""An expert's effort for an image: the round that three experts answer at once in a real browser.

The round is a test whose script does not read, so the seconds are a lower bound: the page's own time. It needs the
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

TEST = ROOT / "tests/labelstudio/client/test_three_experts.py"


def per_image(name: str, test: Path = TEST) -> Figure:
    """Seconds, keys or clicks per image, as the test records them."""
    return Figure.of([_recorded(test)[name]])


FIGURES: Figures = {f"browser_{name}_per_image": partial(per_image, name) for name in ("seconds", "keys", "clicks")}


@cache
def _recorded(test: Path) -> dict[str, float]:
    """Return the properties that a test records."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        command = [sys.executable, "-m", "pytest", "-q", str(test), f"--junitxml={record}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{test} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        properties = ElementTree.parse(record).iter("property")
        return {str(found.get("name")): float(str(found.get("value"))) for found in properties}
