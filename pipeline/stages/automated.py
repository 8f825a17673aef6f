"""automated: the arm without feedback, trained exactly as long as `hitl`, from the same start."""

from __future__ import annotations

from pipeline import tracking
from pipeline.arms.replay import replay
from pipeline.config import load


def main(scenario: str) -> None:
    """Write the arm's final state and its history."""
    config = load()
    state = replay(config, scenario, "automated", [], config.scenario(scenario).penalty)
    if state.accelerator.is_main_process:
        tracking.publish(config, scenario, "automated")
