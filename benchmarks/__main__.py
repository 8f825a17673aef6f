"""``python -m benchmarks [FIGURE …]``: measure some figures or all of them, and write report/benchmarks.json.

The file is a flat object of medians, lows and highs. Figures that are not measured again keep their values.
"""

from __future__ import annotations

import argparse
import json

import torch

from benchmarks import annotation, browser, data, epochs, memory, method, networks, repro, spending, stability, starts
from benchmarks.measure import Figures
from pipeline.commands.running import user_errors
from pipeline.errors import PipelineError
from pipeline.paths import REPORT

FIGURES: Figures = {
    **data.FIGURES,
    **method.FIGURES,
    **networks.FIGURES,
    **spending.FIGURES,
    **stability.FIGURES,
    **annotation.FIGURES,
    **browser.FIGURES,
    **starts.FIGURES,
    **epochs.FIGURES,
    **memory.FIGURES,
    **repro.FIGURES,
}


def main(names: list[str]) -> None:
    """Measure the named figures, or all of them if no name is given; all take about an hour.

    The file is written after each figure, so an interruption loses one figure at most. Raises PipelineError if a name
    is unknown.
    """
    if unknown := sorted(set(names) - set(FIGURES)):
        raise PipelineError(f"there is no figure {', '.join(unknown)}. Fix: choose from {', '.join(FIGURES)}")
    torch.use_deterministic_algorithms(True)  # as in training, on both sides of every ratio
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    REPORT.mkdir(exist_ok=True)
    path = REPORT / "benchmarks.json"
    results: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if names and path.exists() else {}
    for name in names or FIGURES:
        figure = FIGURES[name]()
        results |= {name: figure.median, f"{name}_min": figure.low, f"{name}_max": figure.high}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {figure.median:.4g} ({figure.low:.4g} to {figure.high:.4g})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    with user_errors(again="python -m benchmarks"):
        main(parser.parse_args().names)
