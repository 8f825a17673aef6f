"""placebo: the rounds of `hitl` again, without the experts' knowledge (see `pipeline.arms.placebos`)."""

from __future__ import annotations

from pipeline.arms.placebos import placebo
from pipeline.arms.replay import replay
from pipeline.choices import Placebo
from pipeline.config import load
from pipeline.feedback import masks
from pipeline.paths import step_dir
from pipeline.tracking import live, publishing


def main(scenario: str, arm: Placebo) -> None:
    """Write the arm's final state, history and masks."""
    config = load()
    settings = config.scenario(scenario)
    hitl = masks.read(step_dir(scenario, config.hitl.last) / "masks.npz")
    entries, penalty = placebo(arm, hitl, penalty=settings.penalty, cell=settings.query.cell, seed=config.seed)
    shown = live.epochs(config, scenario, arm, after="start")
    if replay(config, scenario, arm, entries=entries, penalty=penalty, each_epoch=shown):
        publishing.publish_arm(config, scenario, arm)
