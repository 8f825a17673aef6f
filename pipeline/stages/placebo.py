"""placebo: the rounds of `hitl` once more, without what feedback says: what it does by merely being there."""

from __future__ import annotations

from typing import cast

from pipeline import tracking
from pipeline.arms.placebos import placebo
from pipeline.arms.replay import replay
from pipeline.choices import Placebo
from pipeline.config import load
from pipeline.feedback import masks
from pipeline.paths import step_dir


def main(scenario: str, arm: str) -> None:
    """Write the arm's final state and its history; what it is trained with, pipeline/arms/placebos.py says."""
    config = load()
    settings = config.scenario(scenario)
    asked = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    entries, penalty = placebo(cast(Placebo, arm), asked, settings.penalty, settings.query.cell, config.seed)
    state = replay(config, scenario, arm, entries, penalty)
    if state.accelerator.is_main_process:
        tracking.publish(config, scenario, arm)
