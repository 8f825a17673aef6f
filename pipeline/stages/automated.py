"""automated: the arm without feedback, from the same start as `hitl` and for equally many epochs."""

from __future__ import annotations

from pipeline.arms.replay import replay
from pipeline.config import load
from pipeline.tracking import live, publishing


def main(scenario: str) -> None:
    """Write the arm's final state, history and masks (none)."""
    config = load()
    penalty, shown = config.scenario(scenario).penalty, live.epochs(config, scenario, "automated", after="start")
    if replay(config, scenario, "automated", entries=[], penalty=penalty, each_epoch=shown):
        publishing.publish_arm(config, scenario, "automated")
