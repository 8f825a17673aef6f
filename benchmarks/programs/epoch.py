"""``… -m benchmarks.programs.epoch COUNT SIZE``: the duration of an epoch that a launcher's processes share.

The first process prints the seconds of the second epoch, on ``COUNT`` images of ``SIZE`` x ``SIZE`` pixels.
"""

from __future__ import annotations

import sys

from benchmarks import method
from benchmarks.epochs import train_once
from benchmarks.measure import seconds


def main(count: int, size: int) -> None:
    """Train two epochs and print the duration of the second."""
    images, state = method.pictures(count, size), method.begin()
    train_once(state, images)
    took = seconds(lambda: train_once(state, images))
    if state.accelerator.is_main_process:
        print(took)
    state.accelerator.end_training()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
