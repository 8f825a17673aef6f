"""``python -m pipeline.bench [FIGURE …]``: measure them, or everything, print and write report/benchmarks.json.

A flat object of medians, lows and highs; figures that are not measured anew stay.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch

from benchmarks import annotation, data, epochs, memory, method, session, spending, stability, whole
from benchmarks.measure import Figure
from pipeline.paths import REPORT

FIGURES: dict[str, Callable[[], Figure]] = {
    "prepared_vs_decode_ratio": data.prepared_vs_decode_ratio,
    "penalty_step_ratio": method.penalty_step_ratio,
    "penalty_step_ratio_relu6": method.penalty_step_ratio_relu6,
    "penalty_step_ratio_exact": method.penalty_step_ratio_exact,
    "penalty_cosine": method.penalty_cosine,
    "hitl_epoch_ratio_7pct": lambda: method.hitl_epoch_ratio(0.07),
    "hitl_epoch_ratio_70pct": lambda: method.hitl_epoch_ratio(0.7),
    "deeplift_completeness_worst": method.deeplift_completeness_worst,
    "deeplift_batch_speedup": method.deeplift_batch_speedup,
    "query_export_ratio": method.query_export_ratio,
    **spending.FIGURES,
    **stability.FIGURES,
    **annotation.FIGURES,
    **session.FIGURES,
    **epochs.FIGURES,
    **memory.FIGURES,
    **whole.FIGURES,
}


def main(names: list[str]) -> None:
    """Measure and write what is there so far after each figure, since all of them take about an hour."""
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
    given = parser.parse_args()
    if unknown := set(given.names) - set(FIGURES):
        sys.exit(f"error: no figure {', '.join(sorted(unknown))}; choose from {', '.join(FIGURES)}")
    main(given.names)
