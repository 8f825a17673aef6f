"""What an image takes of an expert: the round that three of them answer at once in a real browser.

It is the test tests/integration/test_three_experts.py, whose script's pace is nobody's reading time: it bounds
what the page itself takes. Needs `make test`'s packages and chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.measure import Figure

TEST = "tests/integration/test_three_experts.py"


@cache
def _session() -> dict[str, float]:
    """Seconds, keys and clicks an image, as the test records them."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        subprocess.run([sys.executable, "-m", "pytest", "-q", TEST, f"--junitxml={record}"], check=True)
        properties = ElementTree.parse(record).iter("property")
        return {str(found.get("name")): float(str(found.get("value"))) for found in properties}


def _of(name: str) -> Figure:
    return Figure.of([_session()[name]])


FIGURES: dict[str, Callable[[], Figure]] = {
    f"browser_{name}_per_image": partial(_of, name) for name in ("seconds", "keys", "clicks")
}
