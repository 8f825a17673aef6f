"""placebo: the rounds of `hitl` once more with masks that say nothing: what feedback does by merely being there."""

from __future__ import annotations

from pipeline import masks, tracking
from pipeline.config import load
from pipeline.paths import step_dir
from pipeline.replay import replay
from pipeline.stages import run


def main(scenario: str, arm: str) -> None:
    """Write the arm's final state and its history.

    ``random-mask`` has as many cells on the same images in the same rounds, placed at random.
    """
    config = load()
    entries = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    entries = masks.at_random(entries, config.scenario(scenario).query.cell, config.seed)
    replay(config, scenario, arm, entries)
    tracking.publish(config, scenario, arm)


if __name__ == "__main__":
    run(main, "scenario", "arm")
