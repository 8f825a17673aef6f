"""`lookaway demo`: the whole loop on the embedded data set, and its result."""

from __future__ import annotations

from pipeline.choices import Expert
from pipeline.commands.params_file import restore_committed, set_expert
from pipeline.commands.repro import repro


def main(expert: Expert) -> None:
    """Run everything that is out of date with this kind of expert."""
    restore_committed()
    set_expert(expert)
    repro()
