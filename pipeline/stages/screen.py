"""screen: which attributes and properties of the pictures predict the class by themselves, before any training."""

from __future__ import annotations

import json

from pipeline.data import prepared
from pipeline.paths import prepared_dir, screening_file
from pipeline.report import screening
from pipeline.screening.screen import screen


def main(dataset: str) -> None:
    """Write the screening of a data set as JSON and as a page, and print its sentences."""
    found = screen(prepared.read(prepared_dir(dataset)))
    path = screening_file(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(screening.html(found), encoding="utf-8")
    print("\n- ".join(screening.sentences(found)))
    print(f"the screening is in {path.with_suffix('.html')}")
