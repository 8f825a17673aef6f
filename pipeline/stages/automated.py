"""automated: the arm without feedback, trained exactly as long as `hitl`, from the same start."""

from __future__ import annotations

from pipeline import tracking
from pipeline.config import load
from pipeline.replay import replay
from pipeline.stages import run


def main(scenario: str) -> None:
    """Write the arm's final state and its history."""
    config = load()
    replay(config, scenario, "automated", [], config.scenario(scenario).penalty)
    tracking.publish(config, scenario, "automated")


if __name__ == "__main__":
    run(main, "scenario")
