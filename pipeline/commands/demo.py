"""`make demo`: the whole loop on the embedded data set, and what came out of it."""

from __future__ import annotations

import argparse

from pipeline.commands.params_file import restore_committed, set_expert
from pipeline.commands.repro import repro, run


def main(expert: str) -> None:
    """Run everything that is out of date with this kind of expert."""
    restore_committed()
    set_expert(expert)
    repro()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expert", choices=["simulated", "human"], default="simulated")
    run(main, expert=parser.parse_args().expert)
