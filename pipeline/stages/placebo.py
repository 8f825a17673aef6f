"""placebo: the rounds of `hitl` once more, without what feedback says: what it does by merely being there."""

from __future__ import annotations

from pipeline import masks, tracking
from pipeline.config import load
from pipeline.paths import step_dir
from pipeline.replay import replay
from pipeline.stages import run


def main(scenario: str, arm: str) -> None:
    """Write the arm's final state and its history.

    ``random-mask`` has as many cells on the same images in the same rounds, placed at random;
    ``as-published`` has the masks of `hitl`, and the penalty of the paper's code, which reaches no weight.
    """
    config = load()
    entries = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    if arm == "random-mask":
        entries = masks.at_random(entries, config.scenario(scenario).query.cell, config.seed)
    replay(config, scenario, arm, entries, dead=arm == "as-published")
    tracking.publish(config, scenario, arm)


if __name__ == "__main__":
    run(main, "scenario", "arm")
